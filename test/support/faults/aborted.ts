/** A thousand calls are aborted at random moments: queued, running, streaming, in transactions. */
import { setTimeout as delay } from 'node:timers/promises'
import { Database, QueryCanceledError } from '../../../src/database'
import { waitFor } from '../wait-for'
import { inTime } from './in-time'
import { countBackends, openLedger } from './ledger'
import { CONNECTIONS, failureName } from './subject'

const CALLS = 1000
/** The calls begin over this time, each to be aborted at most so much later. */
const BEGIN_WITHIN_MILLIS = 3000
const ABORT_WITHIN_MILLIS = 200
const PATIENCE_MILLIS = 15_000
const BUSY = ['active', 'idle in transaction', 'idle in transaction (aborted)']

/** Each takes long enough to be aborted while it runs, and short enough for the others to run. */
const CALL_KINDS: readonly ((database: Database, signal: AbortSignal, id: number) => Promise<unknown>)[] = [
  (database, signal) => database.fetchVal('select pg_sleep(0.02)', {}, { signal }),
  (database, signal) => database.fetchVal('select pg_sleep(600)', {}, { signal }),
  async (database, signal) => {
    for await (const _ of database.iterate(
      'select n from generate_series(1, 1000000) as n',
      {},
      { signal },
    )) {
      // The rows do not matter, only that they are read to the end.
    }
  },
  (database, signal, id) =>
    database.transaction(
      async (tx) => {
        await tx.execute('insert into entries (id) values (:id)', { id })
        await tx.fetchVal('select pg_sleep(0.02)')
        // Between two statements, too.
        await delay(5)
        await tx.fetchVal('select 1')
      },
      { signal },
    ),
]

/** Of millpond alone: plain Knex knows no AbortSignal. */
export async function aborted(url: string) {
  await openLedger(url)
  const size = CONNECTIONS / 2
  const database = new Database(url, { pool: { size, maxOverflow: CONNECTIONS - size } })
  await database.connect()
  const errors: unknown[] = []
  let completed = 0
  const begun = Array.from({ length: CALLS }, async (_, id) => {
    await delay(Math.random() * BEGIN_WITHIN_MILLIS)
    const controller = new AbortController()
    const ended = CALL_KINDS[id % CALL_KINDS.length]?.(database, controller.signal, id).then(
      () => (completed += 1),
      (error: unknown) => errors.push(error),
    )
    await Promise.race([ended, delay(Math.random() * ABORT_WITHIN_MILLIS)])
    controller.abort()
    return { ended }
  })
  // By then the last one has been aborted, however busy the machine is.
  const calls = await Promise.all(begun)
  const abortedAt = performance.now()
  const left = async (): Promise<number> => {
    const { used, waiting } = database.stats()
    return used + waiting + (await countBackends(url, BUSY)) + CALLS - completed - errors.length
  }
  const isOver = waitFor(async () => (await left()) === 0, { timeoutMillis: PATIENCE_MILLIS })
  const overAt = await isOver.then(
    () => performance.now(),
    () => NaN,
  )
  const { used, waiting } = database.stats()
  const busyBackends = await countBackends(url, BUSY)
  const settled = completed + errors.length
  await inTime(PATIENCE_MILLIS, Promise.all(calls.map(async ({ ended }) => ended)))
  await database.disconnect({ graceMillis: 0 })
  const strangers = errors.filter((error) => !(error instanceof QueryCanceledError))
  return {
    completed,
    canceled: errors.length - strangers.length,
    otherErrors: strangers.length,
    which: [...new Set(strangers.map(failureName))].join(' and ') || 'none',
    allBackMillis: overAt - abortedAt,
    unsettled: CALLS - settled,
    used,
    waiting,
    busyBackends,
  }
}
