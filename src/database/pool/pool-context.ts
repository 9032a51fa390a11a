/** What a pool is made of, the pool as its parts use it, and its figures. */
import type { Cancellation } from '../context/canceller'
import type { Unlock } from '../context/mutex'
import type { ConnectFailure, Dialect } from '../driver/dialect'
import type { Session } from '../driver/session'
import type { DatabaseError, Holder } from '../errors'
import type { Events, RetireEvent } from '../events'
import type { PoolOptions, Settings } from '../options'
import type { Lease } from './lease'
import type { PooledSession } from './pooled-session'
import type { StatementErrorFactory } from './transaction-control'

export interface PoolContext {
  readonly name: string
  readonly dialect: Dialect
  readonly settings: Settings
  readonly events: Events
  /** Opens a connection and makes a session of it; fails as soon as the signal is aborted. */
  open(this: void, signal: AbortSignal): Promise<Session>
  /** Runs afterConnect on each new session, before a caller gets it. */
  prepare(this: void, lease: Lease): Promise<void>
  translateConnect(this: void, error: unknown): ConnectFailure
}

/** The pool, as its parts use it. */
export interface PoolCore {
  readonly context: PoolContext
  /** Aborted when the pool closes, which ends every wait. */
  readonly closed: Cancellation
  /** How many connections are lent. */
  readonly used: number
  /** When the database last answered, on the clock of performance.now(). */
  readonly heardAt: number
  /** The error of the last attempt to connect; undefined if it succeeded. */
  readonly lastFailure: DatabaseError | undefined
  holders(): readonly Holder[]
  /** @throws NotConnectedError when the pool is closing */
  refuseWhenClosing(): void
  /** Puts all connections in doubt, since one of them was lost or gave no answer. */
  suspectAll(): void
  /** Returns whether the database answers on an idle connection, or where none is idle, has just answered. */
  isAnswering(maxMillis: number): Promise<boolean>
  /**
   * Has every connection replaced, since the server of this one has become read-only: a new one may reach its successor.
   * Returns false if this one is new itself.
   */
  replaceAll(refused: PooledSession): boolean
  /** Makes the record of a new session, and runs afterConnect on it. */
  admit(session: Session): Promise<PooledSession>
  connectFailed(failure: ConnectFailure, attempt: number): void
  /** Closes a connection, lent or idle. */
  retire(pooled: PooledSession, reason: RetireEvent['reason']): void
  /** Makes a lease that is in no list, for afterConnect. */
  newLease(pooled: PooledSession): Lease
  release(lease: Lease, makeError?: StatementErrorFactory): Promise<void>
}

/** The options of a caller that asks for a connection. */
export interface LendOptions {
  /** True when the caller may write: it then waits for its turn where the database takes one writer at a time. */
  readonly writes: boolean
  /** How long the caller waits at most. Default: the acquire timeout. */
  readonly waitMillis?: number
  /** The lease is held for several statements, and taken back when the limits of this call run out. */
  readonly isHeld?: boolean
  /** The library itself holds the lease, for any time: it is never a leak. */
  readonly isInternal?: boolean
}

/** What a caller has got from the queue. */
export interface Admission {
  readonly taken: PooledSession
  /** Lets the next writer take a connection; null unless the database takes one writer at a time. */
  readonly endWriteTurn: Unlock | null
  readonly waitMillis: number
}

/** The figures of a pool at one moment. */
export interface PoolStats {
  /** Connections that are kept, and how many more may be open for a while. */
  readonly size: number
  readonly maxOverflow: number
  /** Now. */
  readonly used: number
  readonly idle: number
  readonly creating: number
  readonly waiting: number
  /** Since connect(). */
  readonly acquired: number
  readonly waited: number
  readonly timedOut: number
  readonly created: number
  readonly retired: number
}

/** Returns the figures of a pool that is not open. */
export function noStats({ size, maxOverflow }: Required<PoolOptions>): PoolStats {
  const now = { used: 0, idle: 0, creating: 0, waiting: 0 }
  return { size, maxOverflow, ...now, acquired: 0, waited: 0, timedOut: 0, created: 0, retired: 0 }
}
