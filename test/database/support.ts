/** Shared by the library's tests: endless statements, rejections as values, gates, and scripts in a process of their own. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { Database } from '../../src/database'
import { compiledFolder } from '../support/compiled'
import type { DatabaseContext } from '../support/each-database'
import type { Dialect } from '../support/scratch'
import { waitFor } from '../support/wait-for'

/** A statement that runs until it is cancelled. */
export function endless(dialect: Dialect): string {
  return dialect === 'sqlite'
    ? 'with recursive c (n) as (select 1 union all select n + 1 from c) select count(*) from c'
    : 'select pg_sleep(600)'
}

/** A query for the numbers from 1 to `count`, in a column `n`. */
export function numbers(dialect: Dialect, count: number): string {
  return dialect === 'sqlite'
    ? `with recursive c (n) as (select 1 union all select n + 1 from c where n < ${count}) select n from c`
    : `select n from generate_series(1, ${count}) as n`
}

/** Resolves to the result of `work`, or to the message of its error. */
export async function valueOrMessage(work: Promise<unknown>): Promise<unknown> {
  return work.catch((error: unknown) => (error as Error).message)
}

/** Resolves to the error that a promise rejects with, and rejects when it resolves. */
export async function failure(promise: Promise<unknown>): Promise<Error> {
  const outcome = await promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  )
  if ('value' in outcome)
    throw new Error(`It should have failed, but resolved to ${JSON.stringify(outcome.value)}`)
  if (!(outcome.error instanceof Error)) throw new Error('It failed with something that is no Error')
  return outcome.error
}

/** Resolves when `work` rejects with `new Error('out')`, and rejects with any other error, such as a failed expectation. */
export async function undone(work: Promise<unknown>): Promise<void> {
  const error = await failure(work)
  if (error.message !== 'out') throw error
}

/** A promise and its resolve function. */
export function gate(): { readonly opened: Promise<void>; open(): void } {
  let open = (): void => undefined
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { opened, open }
}

/** Resolves when a statement whose text holds `part` was sent. */
export async function running(database: Database, part: string): Promise<void> {
  await waitFor(() => database.holders().some(({ sql }) => sql?.includes(part)), { what: `'${part}' to run` })
}

/** Resolves when a statement was sent and, on PostgreSQL, has arrived. */
export async function arrived(context: DatabaseContext, database: Database): Promise<void> {
  await waitFor(() => database.holders().some(({ sql }) => sql !== null), { what: 'a statement to be sent' })
  if (context.dialect === 'sqlite') return
  const active =
    "select pid from pg_stat_activity where datname = current_database() and state = 'active' and pid <> pg_backend_pid()"
  await waitFor(async () => (await context.admin(active)).length > 0, { what: 'a statement to arrive' })
}

/** All values of the column `id` of a table, in order. */
export async function idsOf(database: Database, table = 't'): Promise<number[]> {
  const rows = await database.fetchAll<{ id: number }>(`select id from ${table} order by id`)
  return rows.map(({ id }) => id)
}

/** Reads all rows of a stream. */
export async function all<T>(rows: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const row of rows) found.push(row)
  return found
}

/** Runs a script in a Node of its own, where `./src` is the project's. It must end by itself. */
export function runScript(
  script: string,
  timeoutMillis = 20_000,
): Promise<{ readonly stdout: string; readonly stderr: string }> {
  return promisify(execFile)(process.execPath, ['--eval', script], {
    cwd: compiledFolder(),
    timeout: timeoutMillis,
  })
}
