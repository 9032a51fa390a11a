/** The query queue of pg's Client, which holds our statements and those that the caller sends through `connection.raw`. */
import type { RawConnection } from './client'

/** Private members of pg's Client, tried with 8.23. */
interface QueueMembers {
  readonly _activeQuery: QueuedQuery | null | undefined
  readonly _queryQueue: QueuedQuery[]
  _pulseQueryQueue(): void
}

/** A query object that was given to pg. */
export interface QueuedQuery {
  handleError(error: Error, connection: unknown): void
}

function queueOf(raw: RawConnection): QueueMembers {
  return raw as unknown as QueueMembers
}

/** Returns the query that pg runs now. */
export function activeQuery(raw: RawConnection): QueuedQuery | null {
  return queueOf(raw)._activeQuery ?? null
}

/** Returns the query that pg was given last, which runs or is the last in the queue. */
export function lastSubmitted(raw: RawConnection): QueuedQuery | null {
  return queueOf(raw)._queryQueue.at(-1) ?? activeQuery(raw)
}

/** Returns whether pg runs a query other than `query` now. */
export function isRunningAnother(raw: RawConnection, query: QueuedQuery | null): boolean {
  const active = activeQuery(raw)
  return active !== null && active !== query
}

/** Removes a query from the queue and fails it with `error`. Returns false if the query has been sent already. */
export function withdraw(raw: RawConnection, query: QueuedQuery | null, error: Error): boolean {
  const { _queryQueue: queue } = queueOf(raw)
  const place = query === null ? -1 : queue.indexOf(query)
  if (query === null || place < 0) return false
  queue.splice(place, 1)
  query.handleError(error, raw.connection)
  return true
}

/** Stops pg from sending queued queries. Returns a function that lets pg send them again. */
export function pauseQueue(raw: RawConnection): () => void {
  const queue = queueOf(raw)
  queue._pulseQueryQueue = () => undefined
  return () => {
    Reflect.deleteProperty(queue, '_pulseQueryQueue')
    queue._pulseQueryQueue()
  }
}
