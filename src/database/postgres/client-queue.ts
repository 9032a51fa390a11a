/** The queue of pg's Client, in which statements of ours stand beside those that a user sends by `connection.raw`. */
import type { RawConnection } from './client'

/** Members that pg keeps to itself, tried with 8.23. */
interface Queued {
  readonly _activeQuery: Submitted | null | undefined
  readonly _queryQueue: Submitted[]
  _pulseQueryQueue(): void
}

/** A query that pg was given. */
export interface Submitted {
  handleError(error: Error, connection: unknown): void
}

function queueOf(raw: RawConnection): Queued {
  return raw as unknown as Queued
}

/** Returns the query that pg was given last: it runs, or is the last one that waits. */
export function latestIn(raw: RawConnection): Submitted | null {
  const { _queryQueue: queue, _activeQuery: active } = queueOf(raw)
  return queue.at(-1) ?? active ?? null
}

export function runsAnother(raw: RawConnection, query: Submitted | null): boolean {
  const { _activeQuery: active } = queueOf(raw)
  return active !== null && active !== undefined && active !== query
}

/** Takes a query that has not been sent out of the queue, and fails it. Returns whether it was still there. */
export function withdraw(raw: RawConnection, query: Submitted | null, error: Error): boolean {
  const { _queryQueue: queue } = queueOf(raw)
  const place = query === null ? -1 : queue.indexOf(query)
  if (query === null || place < 0) return false
  queue.splice(place, 1)
  query.handleError(error, raw.connection)
  return true
}

/** Keeps pg from sending what waits. Returns how to let it go on. */
export function holdQueue(raw: RawConnection): () => void {
  const queue = queueOf(raw)
  queue._pulseQueryQueue = () => undefined
  return () => {
    Reflect.deleteProperty(queue, '_pulseQueryQueue')
    queue._pulseQueryQueue()
  }
}
