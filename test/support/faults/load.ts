/** Clients in a closed loop: each makes one call after the other, half of them reads, and continues after errors. */
import { inTime } from './in-time'
import { ACCOUNTS } from './ledger'
import { failureName, type Subject } from './subject'

export const CLIENTS = 16

const PATIENCE_MILLIS = 10_000

/** The turns of a client: two reads, a write, a transfer. */
const TURNS = ['read', 'read', 'write', 'transfer'] as const

export class Load {
  readonly reads = { done: 0, failed: 0 }
  /** Transfers too. */
  readonly writes = { done: 0, failed: 0 }
  /** Entries whose write or transfer succeeded, and those whose failed. */
  readonly acknowledged: number[] = []
  readonly refused: number[] = []
  readonly #failures = new Map<string, number>()
  readonly #subject: Subject
  #slowestMillis = 0
  #writing = 0
  #writingAtFirstFailure: number | undefined
  #isOver = false
  #firstSuccess = new Map<number, number>()
  readonly #calls = new Set<{ readonly started: number }>()
  #nextId = 0
  readonly #clients: Promise<unknown>

  /** Starts at once. */
  constructor(subject: Subject) {
    this.#subject = subject
    this.#clients = Promise.all(Array.from({ length: CLIENTS }, (_, client) => this.#run(client)))
  }

  /** Writes and transfers that were under way when, since the mark, a call failed for the first time. */
  get writingAtFirstFailure(): number {
    return this.#writingAtFirstFailure ?? 0
  }

  /** Clients whose call has not ended, although they were to stop. */
  get hanging(): number {
    return this.#isOver ? this.#calls.size : 0
  }

  /** Of the calls that have ended, and of those that have not. */
  get slowestMillis(): number {
    const now = performance.now()
    return Math.max(this.#slowestMillis, ...[...this.#calls].map(({ started }) => now - started))
  }

  /** What calls failed with, and how often. */
  describeFailures(): string {
    return [...this.#failures].map(([name, times]) => `${times} ${name}`).join(' and ') || 'none'
  }

  /** From now on, the first failure, and the first success of each client, are looked for. */
  mark(): void {
    this.#writingAtFirstFailure = undefined
    this.#firstSuccess = new Map()
  }

  /** When the clients had their first successes since the mark, earliest first. */
  get firstSuccesses(): readonly number[] {
    return [...this.#firstSuccess.values()].toSorted((a, b) => a - b)
  }

  /** Lets each client end its call within the patience, and closes the subject within the same again. */
  async stop(): Promise<void> {
    this.#isOver = true
    await inTime(PATIENCE_MILLIS, this.#clients)
    await inTime(PATIENCE_MILLIS, this.#subject.close())
  }

  async #run(client: number): Promise<void> {
    for (let turn = client; !this.#isOver; turn += 1) {
      const kind = TURNS[turn % TURNS.length] ?? 'read'
      const count = kind === 'read' ? this.reads : this.writes
      const id = (this.#nextId += 1)
      const call = { started: performance.now() }
      this.#calls.add(call)
      if (kind !== 'read') this.#writing += 1
      try {
        await this.#make(kind, id)
        count.done += 1
        if (kind !== 'read') this.acknowledged.push(id)
        if (!this.#firstSuccess.has(client)) this.#firstSuccess.set(client, performance.now())
      } catch (error) {
        this.#writingAtFirstFailure ??= this.#writing
        count.failed += 1
        if (kind !== 'read') this.refused.push(id)
        const name = failureName(error)
        this.#failures.set(name, (this.#failures.get(name) ?? 0) + 1)
        // A client that fails synchronously would keep the others from running.
        await new Promise(setImmediate)
      } finally {
        if (kind !== 'read') this.#writing -= 1
        this.#calls.delete(call)
        this.#slowestMillis = Math.max(this.#slowestMillis, performance.now() - call.started)
      }
    }
  }

  #make(kind: (typeof TURNS)[number], id: number): Promise<unknown> {
    const account = 1 + Math.floor(Math.random() * ACCOUNTS)
    if (kind === 'read') return this.#subject.read(account)
    if (kind === 'write') return this.#subject.write(id)
    return this.#subject.transfer(id, account, 1 + (account % ACCOUNTS))
  }
}
