/** What a pool is made of, and the options of a caller that asks for a connection. */
import type { Events } from '../events'
import type { Settings } from '../options'
import type { ConnectFailure, Dialect } from '../driver/dialect'
import type { Session } from '../driver/session'
import type { Lease } from './lease'

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

export interface LendOptions {
  /** True when the caller may write: it then waits for its turn where the database takes one writer at a time. */
  readonly writes: boolean
  /** How long the caller waits at most. Default: the acquire timeout. */
  readonly waitMillis?: number
  /** The lease is held for several statements, and taken back when the limits of this call run out. */
  readonly endsWithLimits?: boolean
  /** The library itself holds the lease, for any time: it is never a leak. */
  readonly isInternal?: boolean
}
