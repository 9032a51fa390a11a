/** What a Database tells those who listen: names and payloads. */
import { EventEmitter } from 'node:events'
import type { DatabaseError, Holder } from './errors'
import { outsideOfScopes } from './context/scope'

export interface QueryEvent {
  /** The statement's text. Never values. */
  readonly sql: string
  readonly durationMillis: number
  /** The scope's label, such as `POST /transfer`, or null outside of any scope. */
  readonly label: string | null
  /** Left out when the statement succeeded. */
  readonly error?: DatabaseError
}

export interface ConnectRetryEvent {
  /** 1 for the first try that failed. */
  readonly attempt: number
  readonly error: DatabaseError
}

export interface CleanupEvent {
  /** What the borrower had left behind, in words. */
  readonly what: string
  readonly label: string | null
}

export interface AcquireEvent {
  /** How long it was waited for. */
  readonly waitMillis: number
  readonly label: string | null
}

export interface ReleaseEvent {
  /** How long it was out. */
  readonly heldMillis: number
  readonly label: string | null
}

export interface CreateEvent {
  /** How long it took to open, log in and run afterConnect. */
  readonly durationMillis: number
}

export interface RetireEvent {
  /** `lost`: it broke; `old`, `idle`: past its time; `extra`: over pool.size; `changed`: its settings could not be put back. */
  readonly reason: 'lost' | 'old' | 'idle' | 'extra' | 'changed' | 'closed'
}

export interface TimeoutEvent {
  /** What the caller got: the pool was full, or the database out of reach. */
  readonly error: DatabaseError
  readonly label: string | null
}

/** A connection that is out for longer than `leakThresholdMillis`. */
export interface LeakEvent extends Holder {
  /** Once `held`; later `returned` if it does come back, or `reclaimed` past `leakTimeoutMillis`. */
  readonly state: 'held' | 'returned' | 'reclaimed'
}

export interface DatabaseEvents {
  connect: []
  disconnect: []
  /** The database could not be reached; it is tried again. */
  connectRetry: [ConnectRetryEvent]
  /** A connection was lent, */
  acquire: [AcquireEvent]
  /** … and came back. */
  release: [ReleaseEvent]
  /** A connection was opened, */
  create: [CreateEvent]
  /** … and closed for good. */
  retire: [RetireEvent]
  /** Somebody waited for a connection in vain. */
  timeout: [TimeoutEvent]
  /** A connection does not come back. */
  leak: [LeakEvent]
  /** After every statement, BEGIN and COMMIT included. */
  query: [QueryEvent]
  /** A connection came back with something left open, which was cleaned up. */
  cleanup: [CleanupEvent]
}

export class Events extends EventEmitter<DatabaseEvents> {
  /** Whether anybody listens: for those who would have to put a payload together for nobody. */
  isHeard(event: keyof DatabaseEvents): boolean {
    return this.listenerCount(event) > 0
  }

  /** Statements are many and listeners few: with none, an event costs nothing. */
  tell<E extends keyof DatabaseEvents>(event: E, ...payload: DatabaseEvents[E]): void {
    if (this.listenerCount(event) === 0) return
    try {
      // What a listener asks of the database is none of the statement's transaction.
      outsideOfScopes(() => (this as EventEmitter).emit(event, ...payload))
    } catch (error) {
      // A listener's mistake must not change the outcome of a statement, nor may it go unseen.
      process.nextTick(() => {
        throw error
      })
    }
  }
}
