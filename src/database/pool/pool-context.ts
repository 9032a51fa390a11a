/** What a pool stands on, and what a borrower says of himself. */
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
  /** Opens a connection and makes a session of it, unless the signal is aborted first. */
  open(this: void, signal: AbortSignal): Promise<Session>
  /** Runs on each new session before anybody else has it. */
  prepare(this: void, lease: Lease): Promise<void>
  translateConnect(this: void, error: unknown): ConnectFailure
}

export interface LendOptions {
  /** Whether the borrower is going to write. */
  readonly writes: boolean
  /** How long it may take. Default: the acquire timeout. */
  readonly waitMillis?: number
  /** Held for more than one statement, whose limits end it: taken back when the limits under which it is lent run out. */
  readonly endsWithLimits?: boolean
  /** Kept by the library itself for as long as it likes: no leak. */
  readonly isInternal?: boolean
}
