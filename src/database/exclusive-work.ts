/** Runs work under a named lock that all processes of a database share. */
import { setTimeout as pause } from 'node:timers/promises'
import type { DatabaseBackend } from './create-backend'
import type { NamedLock } from './driver/session'
import { ConnectionError } from './errors'
import { Limits } from './context/limits'
import { checkOptions, QUERY_OPTIONS, type QueryOptions } from './query/queryable'
import { runInScope } from './context/scope'

const MAX_PAUSE_MILLIS = 200

/** Implements `Database.exclusively`. `refuseIfDisconnected` throws while the Database is not connected. */
export async function exclusively<T>(
  backend: DatabaseBackend,
  name: string,
  work: () => Promise<T>,
  options: QueryOptions | undefined,
  refuseIfDisconnected: () => unknown,
): Promise<T> {
  refuseIfDisconnected()
  const limits = Limits.of(checkOptions(options, QUERY_OPTIONS), `exclusively '${name}'`)
  const lost = new AbortController()
  const waiting = new AbortController()
  const stopWatching = limits.watch(() => {
    waiting.abort()
  })
  let lock: NamedLock | undefined
  try {
    lock = await backend.openNamedLock(name, waiting.signal, () => {
      lost.abort(new ConnectionError(`The connection that kept others out of '${name}' was lost.`))
    })
    // Polls: a statement that waits for the lock would block CREATE INDEX CONCURRENTLY in the process that holds it.
    while (!(await lock.tryLock())) {
      limits.check()
      refuseIfDisconnected()
      await pause(MAX_PAUSE_MILLIS * (0.5 + Math.random() / 2))
    }
    limits.check()
  } catch (error) {
    await lock?.unlock()
    // The caller gets the error of its limits, not that of what they have ended.
    limits.check()
    throw backend.dialect.translate(error, '')
  } finally {
    stopWatching()
  }
  try {
    return await runInScope({ signal: lost.signal }, work)
  } finally {
    await lock.unlock()
  }
}
