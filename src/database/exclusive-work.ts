/** Work that one at a time may do, among all processes that use a database. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Backend } from './query/backend'
import type { NamedLock } from './driver/session'
import { ConnectionError } from './errors'
import { Limits } from './context/limits'
import { checked, QUERY_OPTIONS, type QueryOptions } from './query/queryable'
import { runInScope } from './context/scope'

const LONGEST_PAUSE_MILLIS = 200

/** See `Database.exclusively`. `refuse` throws while the Database is not connected. */
export async function exclusively<T>(
  backend: Backend,
  name: string,
  work: () => Promise<T>,
  options: QueryOptions | undefined,
  refuse: () => unknown,
): Promise<T> {
  refuse()
  const limits = Limits.of(checked(options, QUERY_OPTIONS), `exclusively '${name}'`)
  const lost = new AbortController()
  const exclusion = await prepared(backend, name, limits, () => {
    lost.abort(new ConnectionError(`The connection that kept others out of '${name}' was lost.`))
  })
  try {
    // Asked for again and again: a statement that waits for its turn would itself keep an index waiting that the other
    // one creates concurrently.
    while (!(await exclusion.tryLock())) {
      limits.check()
      refuse()
      await pause(LONGEST_PAUSE_MILLIS * (0.5 + Math.random() / 2))
    }
    limits.check()
    return await runInScope({ signal: lost.signal }, work)
  } finally {
    await exclusion.unlock()
  }
}

async function prepared(
  backend: Backend,
  name: string,
  limits: Limits,
  lost: () => void,
): Promise<NamedLock> {
  const giveUp = new AbortController()
  const stopWatching = limits.watch(() => {
    giveUp.abort()
  })
  try {
    return await backend.namedLock(name, giveUp.signal, lost)
  } catch (error) {
    // Whoever gave it up is not told that it was given up.
    limits.check()
    throw error
  } finally {
    stopWatching()
  }
}
