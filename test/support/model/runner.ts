/** Runs a program of transactions on a Database, and notes what it was told on the way. */
import {
  type Database,
  DatabaseError,
  type Queryable,
  type Transaction,
  TransactionClosedError,
  TransactionError,
} from '../../../src/database'
import { gate } from '../../database/support'
import { Inserts, type Target } from './inserts'
import type { Block, Step } from './tree'

/** Where the steps of a block stand. */
interface Place extends Target {
  /** The handle around this one. */
  readonly outer: Queryable | null
  /** Resolves when the block has ended; null where there is none. */
  readonly end: Promise<unknown> | null
  /** See the reference: whether branches may be left running. */
  readonly races: boolean
  /** Whether a loop may keep a connection while its body asks for another. */
  readonly mayHold: boolean
}

/** An error that the program throws on purpose. */
class Planned extends Error {}

export class Runner {
  readonly inserts: Inserts
  readonly outcomes = new Map<string, 'resolves' | 'rejects'>()
  /** What went against the rules, in words. */
  readonly problems: string[] = []
  readonly #database: Database
  readonly #isForced: boolean
  readonly #pending: Promise<unknown>[] = []

  /** @param isForced in a forced rollback, where what comes after the end of connection() joins it */
  constructor(database: Database, name: string, isForced = false) {
    this.#isForced = isForced
    this.#database = database
    this.inserts = new Inserts(database, name)
  }

  /** Resolves when all that the program has started has ended. */
  async run(steps: readonly Step[]): Promise<void> {
    await Promise.allSettled([this.#steps(steps, this.#root, '')])
    // What has ended may have started more.
    for (let done = 0; done < this.#pending.length;) {
      const now = this.#pending.slice(done)
      done += now.length
      await Promise.allSettled(now)
    }
  }

  get #root(): Place {
    const on = { on: this.#database, isAmbient: true, outer: null, end: null }
    return { ...on, owner: null, outermost: null, races: false, mayHold: true }
  }

  async #steps(steps: readonly Step[], place: Place, path: string): Promise<void> {
    for (const [index, step] of steps.entries()) await this.#step(step, place, `${path}.${index}`)
  }

  async #step(step: Step, place: Place, path: string): Promise<void> {
    switch (step.kind) {
      case 'insert':
        return this.inserts.one(step.way, place, path)
      case 'forget':
        return this.#forget(this.inserts.one(step.way, place, path))
      case 'many': {
        const inserting = this.inserts.many(step.count, place, path)
        return step.awaited ? inserting : this.#forget(inserting)
      }
      case 'late':
        if (place.end !== null) {
          const late = place.end.then(() => this.inserts.one(step.way, place, path))
          this.#forget(this.#expect(late, TransactionClosedError, `${path} came late`))
        }
        return
      case 'outer':
        if (!place.isAmbient || place.outer === null) return
        return this.#expect(
          this.inserts.by(place.outer, path),
          TransactionError,
          `${path} by the outer handle`,
        )
      case 'detached':
        return this.#forget(
          this.#database.detached(() => this.inserts.one('execute', { ...place, ...this.#root }, path)),
        )
      case 'transaction': {
        const running = this.#block(step.block, place, path)
        await (step.error === 'caught' ? running.catch(() => undefined) : running)
        return
      }
      case 'forgotten transaction':
        return this.#forget(this.#block(step.block, place, path))
      case 'begin':
        return this.#begin(step, place, path)
      case 'connection':
        return this.#connection(step.steps, place, path)
      case 'branches':
        return this.#branches(step, place, path)
      case 'loop':
        return this.#loop(step, place, path)
    }
  }

  async #block({ steps, end }: Block, place: Place, path: string): Promise<void> {
    const begin = place.isAmbient ? this.#database : place.on
    const ended = gate()
    let thrown: Error | undefined
    const work = async (tx: Transaction): Promise<void> => {
      const inside = { ...this.#inside(tx, place, path), end: ended.opened, isAmbient: true }
      try {
        await this.#steps(steps, inside, path)
        if (end.startsWith('commit')) await tx.commit()
        if (end.startsWith('rollback')) await tx.rollback()
        if (end.startsWith('commit') || end.startsWith('rollback')) {
          const late = this.inserts.one('table', inside, `${path}.after`)
          await this.#expect(late, TransactionClosedError, `${path} after its end`)
        }
        if (end === 'abandon') await this.#database.begin()
        if (end === 'spoil') await this.inserts.again().catch(() => undefined)
        if (end.endsWith('throw')) throw new Planned(path)
      } catch (error) {
        thrown = error as Error
        throw error
      }
    }
    try {
      await begin.transaction(work, { forceRollback: end === 'force' })
      this.outcomes.set(path, 'resolves')
    } catch (error) {
      this.outcomes.set(path, 'rejects')
      if (thrown !== undefined && error !== thrown) {
        this.problems.push(
          `${path} threw ${thrown.message}, but its transaction rejected with ${String(error)}`,
        )
      }
      if (!(error instanceof Planned || error instanceof DatabaseError)) this.problems.push(String(error))
      throw error
    } finally {
      ended.open()
    }
  }

  async #begin({ steps, end }: Step & { kind: 'begin' }, place: Place, path: string): Promise<void> {
    const ended = gate()
    try {
      await using tx = await (place.isAmbient ? this.#database : place.on).begin()
      await this.#steps(
        steps,
        { ...this.#inside(tx, place, path), end: ended.opened, isAmbient: false, outer: null },
        path,
      )
      if (end === 'commit') await tx.commit()
      if (end === 'rollback') await tx.rollback()
    } finally {
      ended.open()
    }
  }

  async #connection(steps: readonly Step[], place: Place, path: string): Promise<void> {
    if (!place.isAmbient) return this.#steps(steps, place, path)
    const ended = gate()
    const isJoined = place.on !== this.#database || this.#isForced
    const end = isJoined ? place.end : ended.opened
    try {
      await this.#database.connection((on) => this.#steps(steps, { ...place, on, end, mayHold: true }, path))
    } finally {
      ended.open()
    }
  }

  async #branches({ branches, by }: Step & { kind: 'branches' }, place: Place, path: string): Promise<void> {
    const within = by === 'all' ? place : { ...place, races: false }
    // Several loops side by side, each with a connection and in need of another, could keep each other waiting.
    const mayHold = place.owner !== null || place.on !== this.#database
    const running = branches.map((branch, index) =>
      this.#steps(branch, { ...within, mayHold }, `${path}.${index}`),
    )
    this.#pending.push(...running)
    if (by === 'all' && within.races) {
      await Promise.all(running)
      return
    }
    const settled = await Promise.allSettled(running)
    const failed = settled.find((one) => one.status === 'rejected')
    if (by === 'all' && failed !== undefined) throw failed.reason
  }

  async #loop({ rows, body, leaves }: Step & { kind: 'loop' }, place: Place, path: string): Promise<void> {
    const on = place.isAmbient ? this.#database : place.on
    const query = `select tag from numbers where n < :rows order by n`
    const stream = place.mayHold
      ? on.iterate(query, { rows }, { batchSize: 2 })
      : await on.fetchAll(query, { rows })
    let turn = 0
    const isFree = place.owner === null && place.on === this.#database
    for await (const _ of stream) {
      await this.#steps(body, { ...place, mayHold: place.mayHold && !isFree }, `${path}#${turn}`)
      turn += 1
      if (leaves === 'by break') break
    }
    if (leaves === 'by throw') throw new Planned(path)
  }

  #inside(on: Queryable, place: Place, path: string): Omit<Place, 'end' | 'isAmbient'> {
    return {
      owner: path,
      outermost: place.outermost ?? path,
      on,
      outer: place.on === this.#database ? null : place.on,
      races: true,
      mayHold: true,
    }
  }

  /** Lets something run without waiting for it here. */
  #forget(running: Promise<unknown>): void {
    this.#pending.push(running)
    // It is looked at in the end.
    running.catch(() => undefined)
  }

  async #expect(
    sending: Promise<unknown>,
    refusal: abstract new (...args: never[]) => Error,
    what: string,
  ): Promise<void> {
    try {
      await sending
      this.problems.push(`${what}, and was not refused`)
    } catch (error) {
      if (!(error instanceof refusal)) this.problems.push(`${what}, and failed with ${String(error)}`)
    }
  }
}
