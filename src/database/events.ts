/** The events of a Database: names and payloads. */
import { EventEmitter } from 'node:events'
import type { DatabaseError, Holder } from './errors'
import { outsideOfScopes } from './context/scope'
import { type Observer, together } from './observer'

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
  /** What the caller had left open, in words. */
  readonly what: string
  readonly label: string | null
}

export interface AcquireEvent {
  /** How long the caller waited. */
  readonly waitMillis: number
  readonly label: string | null
}

export interface ReleaseEvent {
  /** How long the connection was lent. */
  readonly heldMillis: number
  readonly label: string | null
}

export interface CreateEvent {
  /** How long opening, logging in and afterConnect took. */
  readonly durationMillis: number
}

export interface RetireEvent {
  /** `old`, `idle`: past its time; `extra`: above pool.size; `changed`: its settings could not be reset. */
  readonly reason: 'lost' | 'old' | 'idle' | 'extra' | 'changed' | 'closed'
}

export interface TimeoutEvent {
  /** The caller's error: the pool was full, or the database could not be reached. */
  readonly error: DatabaseError
  readonly label: string | null
}

/** A connection that is lent for longer than `leakThresholdMillis`. */
export interface LeakEvent extends Holder {
  /** First `held`, once; then `returned` if it comes back, or `reclaimed` after `leakTimeoutMillis`. */
  readonly state: 'held' | 'returned' | 'reclaimed'
}

export interface DatabaseEvents {
  connect: []
  disconnect: []
  /** The database could not be reached; opening a connection is retried. */
  connectRetry: [ConnectRetryEvent]
  /** A connection was lent. */
  acquire: [AcquireEvent]
  /** A connection came back. */
  release: [ReleaseEvent]
  /** A connection was opened. */
  create: [CreateEvent]
  /** A connection was closed. */
  retire: [RetireEvent]
  /** A caller got no connection in time. */
  timeout: [TimeoutEvent]
  /** A connection was lent for too long. */
  leak: [LeakEvent]
  /** A statement has ended, BEGIN and COMMIT included. */
  query: [QueryEvent]
  /** A connection came back with something open, which was cleaned up. */
  cleanup: [CleanupEvent]
}

export class Events extends EventEmitter<DatabaseEvents> {
  /** Watches what runs; undefined while nobody does, which costs nothing. */
  observer: Observer | undefined
  #observers: readonly Observer[] = []

  /** Adds an observer of what runs on the connections that are taken from now on. Returns how to remove it. */
  observe(observer: Observer): () => void {
    const setObservers = (observers: readonly Observer[]): void => {
      this.#observers = observers
      this.observer = together(observers)
    }
    setObservers([...this.#observers, observer])
    return () => {
      setObservers(this.#observers.filter((one) => one !== observer))
    }
  }

  /** Calls the listeners outside of every scope. An error that one throws is uncaught: it never fails the statement. */
  tell<E extends keyof DatabaseEvents>(event: E, ...payload: DatabaseEvents[E]): void {
    if (this.listenerCount(event) === 0) return
    try {
      // A listener's own queries must not join the statement's transaction.
      outsideOfScopes(() => (this as EventEmitter).emit(event, ...payload))
    } catch (error) {
      // A listener's error must not change the outcome of a statement, nor be lost.
      process.nextTick(() => {
        throw error
      })
    }
  }
}
