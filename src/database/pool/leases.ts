/** The connections that are out: under which lease, since when, and who is waited for at the end. */
import type { Holder } from '../errors'
import type { Unlock } from '../context/mutex'
import { type Entry, LinkedList } from '../context/linked-list'
import type { Why } from './transaction-control'
import type { Session } from '../driver/session'
import type { Watched } from './leak-detector'
import type { Lease } from './lease'
import { within } from '../context/watchdog'

export class LeaseRecord {
  readonly lease: Lease
  /** Lets the next writer take a connection, where they queue for that. */
  readonly leaveQueue: Unlock | null
  /** How it is known to those who look for leaks, if anybody does. */
  readonly watched: Entry<Watched> | null
  /** Settles when it has been taken back, from the moment on in which that begins. */
  ending: Promise<void> | null = null
  /** Its connection was lost: it has none, until it gets another one. */
  isMoving = false
  /** Stops the watch over the limits under which it was lent. */
  stopWatching: (() => void) | null = null

  constructor(lease: Lease, leaveQueue: Unlock | null, watched: Entry<Watched> | null) {
    this.lease = lease
    this.leaveQueue = leaveQueue
    this.watched = watched
  }
}

export class Leases {
  readonly #out = new LinkedList<LeaseRecord>()
  /** The latest of each connection, be it over or not. */
  readonly #latest = new WeakMap<Session, Entry<LeaseRecord>>()
  #moving = 0
  #whenNone: (() => void) | undefined

  /** How many have a connection. */
  get count(): number {
    return this.#out.size - this.#moving
  }

  add(record: LeaseRecord): void {
    this.#latest.set(record.lease.session, this.#out.add(record))
  }

  /** It has not been given back, nor is it being taken back. */
  isOut(lease: Lease): boolean {
    return this.of(lease)?.ending === null
  }

  /** The connection of a lease is gone, which waits for another one. */
  lost(lease: Lease): void {
    const record = this.of(lease)
    if (record !== undefined) this.#setMoving(record, true)
  }

  #setMoving(record: LeaseRecord, isMoving: boolean): void {
    if (record.isMoving === isMoving) return
    record.isMoving = isMoving
    this.#moving += isMoving ? 1 : -1
  }

  /** Gives a lease another connection, unless it has ended meanwhile. */
  exchange(lease: Lease, session: Session): boolean {
    const entry = this.#latest.get(lease.session)
    if (entry === undefined || !this.isOut(lease)) return false
    this.#setMoving(entry.value, false)
    lease.session = session
    session.hold(true)
    this.#latest.set(session, entry)
    return true
  }

  /** The loan of that very lease, or undefined when it has ended. */
  of(lease: Lease): LeaseRecord | undefined {
    const entry = this.#latest.get(lease.session)
    return entry?.isIn === true && entry.value.lease === lease ? entry.value : undefined
  }

  /** Does nothing when it has ended already. */
  remove(record: LeaseRecord): void {
    const entry = this.#latest.get(record.lease.session)
    if (entry?.value !== record || !this.#out.remove(entry)) return
    this.#setMoving(record, false)
    record.leaveQueue?.()
    record.stopWatching?.()
    if (this.#out.size === 0) this.#whenNone?.()
  }

  all(): readonly LeaseRecord[] {
    return this.#out.all().map(({ value }) => value)
  }

  /**
   * Takes back by force what is out: cancelled, if that can be done in time, and cut off in any case. `why` makes the
   * errors of their users; `cut` is told of each.
   */
  async cutOff(patienceMillis: number, why: Why, cut: (lease: Lease) => void): Promise<void> {
    // A server notices that a connection is gone when it has something to say to it: a long statement is cancelled.
    const interrupted = this.all().map(({ lease }) => {
      lease.end(why)
      return lease.interrupt(why)
    })
    await within(patienceMillis, Promise.all(interrupted))
    for (const record of this.all()) {
      record.lease.session.destroy()
      this.remove(record)
      cut(record.lease)
    }
  }

  /** When the database last answered one of those that are out. */
  get heardAt(): number {
    return Math.max(...this.all().map(({ lease }) => lease.answeredAt ?? -Infinity))
  }

  /** Longest first. */
  holders(): readonly Holder[] {
    const now = performance.now()
    return this.all()
      .filter(({ isMoving }) => !isMoving)
      .map(({ lease }) => lease.describe(now))
      .toSorted((a, b) => b.heldMillis - a.heldMillis)
  }

  /** Resolves when nothing is out any more. */
  async none(): Promise<void> {
    if (this.#out.size === 0) return
    await new Promise<void>((resolve) => {
      this.#whenNone = resolve
    })
  }
}
