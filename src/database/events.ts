/** What a Database tells those who listen: names and payloads. */
import { EventEmitter } from 'node:events'
import type { DatabaseError } from './errors'
import { outsideOfScopes } from './scope'

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

export interface DatabaseEvents {
  connect: []
  disconnect: []
  /** The database could not be reached; it is tried again. */
  connectRetry: [ConnectRetryEvent]
  /** After every statement, BEGIN and COMMIT included. */
  query: [QueryEvent]
  /** A connection came back with something left open, which was cleaned up. */
  cleanup: [CleanupEvent]
}

export class Events extends EventEmitter<DatabaseEvents> {
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
