/** Finds connections and transactions that a test has left open in a Database. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Database, Holder } from '../database'

/** How long to wait: a connection may still be being released when the answer of a request has arrived. */
const RELEASE_TIMEOUT_MILLIS = 1000
const POLL_MILLIS = 5

/** Waits for connections to be released, and returns the holders of those that are not. */
export async function unreleasedHolders(database: Database): Promise<readonly Holder[]> {
  const deadline = performance.now() + RELEASE_TIMEOUT_MILLIS
  while (database.holders().length > 0 && performance.now() < deadline) await delay(POLL_MILLIS)
  return database.holders()
}

/** @throws Error naming each holder */
export function throwIfLeaked(database: Database, holders: readonly Holder[]): void {
  if (holders.length === 0) return
  const list = holders.map(({ label, site, sql, inTransaction }) => {
    const what = inTransaction ? 'a transaction that is open' : 'a connection'
    const where = site === null ? '' : ` (taken ${site})`
    return `- ${what}, of ${label ?? 'nobody in particular'}${where}, running ${sql ?? 'nothing'}`
  })
  throw new Error(
    `The test has left something open in database '${database.name}':\n${list.join('\n')}\n` +
      'Await what it starts, and end by hand what it begins by hand; `await using` does.',
  )
}
