/** Transactions whose connection is cut at COMMIT, and a check of the outcome that they report. */
import { CommitUnknownError, type Database, DatabaseError } from '../../src/database'
import type { DatabaseContext } from './each-database'
import type { TcpProxy, TrapOptions } from './tcp-proxy'
import { waitFor } from './wait-for'

/** COMMIT as it goes over the wire, and the length of the answer: CommandComplete and ReadyForQuery. */
export const COMMIT = Buffer.from('Q\0\0\0\x0bCOMMIT\0', 'latin1')
export const ANSWER_BYTES = 12 + 6

export type Report = 'committed' | 'rolled back' | 'unknown'

/** The ways to write a row in a transaction. They alternate, so that each cut meets several of them. */
const SHAPES: readonly ((database: Database, id: number) => Promise<unknown>)[] = [
  (database, id) => database.transaction(() => database.execute('insert into t values (:id)', { id })),
  (database, id) =>
    database.transaction(async (tx) => {
      await tx.fetchVal('select count(*) from t')
      await tx.transaction(async () => {
        await database.table('t').insert({ id })
      })
    }),
  async (database, id) => {
    await using tx = await database.begin()
    await tx.fetchVal('insert into t values (:id) returning id', { id })
    await tx.commit()
  },
  (database, id) => database.executeMany('insert into t values (:id)', [{ id }]),
  (database, id) =>
    database.transaction(async (tx) => {
      await tx.execute('insert into t values (:id)', { id })
      await tx.transaction(async () => Promise.reject(new Error('undone'))).catch(() => undefined)
    }),
]

/** The outcome that a transaction reports. */
export async function reportOf(work: Promise<unknown>): Promise<Report> {
  try {
    await work
    return 'committed'
  } catch (error) {
    if (error instanceof CommitUnknownError) return 'unknown'
    // Any other error reports that nothing was committed.
    if (error instanceof DatabaseError) return 'rolled back'
    throw error
  }
}

/** One of the ways to write a row in a transaction. */
export function shapeOf(n: number): (database: Database, id: number) => Promise<unknown> {
  const shape = SHAPES[n % SHAPES.length]
  if (shape === undefined) throw new Error('There is no such shape')
  return shape
}

/** Expects, when no transaction is open any more, that the row exists exactly if it was reported as committed. */
export async function expectTrue(context: DatabaseContext, report: Report, id: number): Promise<void> {
  if (context.dialect === 'postgresql') {
    const open = `select pid from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid() and xact_start is not null`
    await waitFor(async () => (await context.admin(open)).length === 0, { what: 'the end of transactions' })
  }
  const isThere = (await context.admin(`select id from t where id = ${id}`)).length === 1
  const isReported = report === 'unknown' ? isThere : report === 'committed'
  expect([id, isThere]).toEqual([id, isReported])
}

let next = 0

/** An id that no row has yet. */
export function nextId(): number {
  return (next += 1)
}

/** Runs one transaction into a trap at its COMMIT; resolves to the reported outcome after checking it. */
export async function commitInto(
  context: DatabaseContext,
  database: Database,
  proxy: TcpProxy,
  trap: TrapOptions,
): Promise<Report> {
  const id = nextId()
  const sprung = proxy.trap(COMMIT, trap)
  const [report] = await Promise.all([reportOf(shapeOf(id)(database, id)), sprung])
  await expectTrue(context, report, id)
  return report
}
