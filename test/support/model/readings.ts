/** A SELECT read in every way that there is, and what each gives. */
import type { Database, Queryable } from '../../../src/database'
import type { Select } from './selects'

const BATCH_SIZES = [undefined, 1, 3, 64]

/** What the driver sqlite3 would round, or cannot tell apart. */
const REFUSED = /holds an integer beyond 2\^53|some of its columns may have the same name/

export interface Outcome {
  readonly rows: readonly object[]
  readonly error: string | null
}

export async function outcomeOf(read: () => Promise<readonly unknown[]>): Promise<Outcome> {
  try {
    return { rows: (await read()) as object[], error: null }
  } catch (error) {
    const { name, message } = error as Error
    // Which of its reasons it has first depends on how much is read.
    return {
      rows: [],
      error: REFUSED.test(message) ? 'refused by the driver sqlite3' : `${name}: ${message}`,
    }
  }
}

/** How the ways to read a SELECT differ from fetchAll, which has given `expected`. */
export async function differences(database: Database, made: Select, expected: Outcome): Promise<string[]> {
  const { sql, values } = made
  // SQLite's rows come in one order as long as the plan is the same, whether a statement asks for it or not.
  const isOrdered = made.isOrdered || database.url.dialect === 'sqlite'
  const write = ({ rows, error }: Outcome): string => {
    const texts = rows.map(text)
    return error ?? (isOrdered ? texts : texts.toSorted()).join('\n')
  }
  const whole = write(expected)
  const problems: string[] = []
  const expectWhole = (way: string, outcome: Outcome): void => {
    const found = write(outcome)
    if (found !== whole) problems.push(`fetchAll: ${whole.slice(0, 1000)}`, `${way}: ${found.slice(0, 1000)}`)
  }
  for (const batchSize of BATCH_SIZES) {
    expectWhole(`iterate, batchSize ${batchSize}`, await streamed(database, made, batchSize))
  }
  await database.connection(async (connection) => {
    expectWhole('on a connection', await outcomeOf(() => connection.fetchAll(sql, values)))
    expectWhole('iterate on a connection', await streamed(connection, made, 2))
  })
  for (const readOnly of [true, false]) {
    // One for each: PostgreSQL's is of no more use once a statement in it has failed.
    const inside = (read: (tx: Queryable) => Promise<Outcome>): Promise<Outcome> =>
      database.transaction(read, { readOnly, forceRollback: true })
    expectWhole('in a transaction', await inside((tx) => outcomeOf(() => tx.fetchAll(sql, values))))
    expectWhole('iterate in a transaction', await inside((tx) => streamed(tx, made, 5)))
  }
  return [...problems, ...(await differencesOfFirst(database, made, expected, isOrdered))]
}

/** The same for the ways that read its first row only. */
async function differencesOfFirst(
  database: Database,
  { sql, values }: Select,
  { rows, error }: Outcome,
  isOrdered: boolean,
): Promise<string[]> {
  const one = await outcomeOf(async () => [await database.fetchOne(sql, values)])
  if (error !== null) {
    // There may be a first row in front of the one that fails.
    return one.error === null || one.error === error ? [] : [`fetchAll: ${error}`, `fetchOne: ${one.error}`]
  }
  const found = one.error ?? text(one.rows[0] ?? null)
  const [first = null] = rows
  const isThere = isOrdered ? found === text(first) : [null, ...rows].some((row) => found === text(row))
  if (!isThere) return [`first row: ${text(first)}`, `fetchOne: ${found}`]
  if (first === null || !isOrdered) return []
  const problems: string[] = []
  for (const [column, value] of [...Object.entries(first), [0, null] as const]) {
    const outcome = await outcomeOf(async () => [[await database.fetchVal(sql, values, { column })]])
    const read = outcome.error ?? text(outcome.rows[0] ?? null)
    // Which of its columns comes first, an object does not tell.
    const isRight = column === 0 ? /^\[|^refused/.test(read) : read === text([value])
    if (!isRight) problems.push(`fetchVal ${column}: ${read}`, `fetchOne: ${found}`)
  }
  return problems
}

async function streamed(
  on: Queryable,
  { sql, values }: Select,
  batchSize: number | undefined,
): Promise<Outcome> {
  const rows: object[] = []
  const { error } = await outcomeOf(async () => {
    for await (const row of on.iterate(sql, values, batchSize === undefined ? {} : { batchSize }))
      rows.push(row)
    return []
  })
  // Rows in front of one that fails have been given by then.
  return { rows: error === null ? rows : [], error }
}

/** A row with the order and the types of its values. */
function text(row: object | null): string {
  return row === null
    ? 'null'
    : JSON.stringify(Object.entries(row).map(([name, value]) => [name, exact(value)]))
}

/** A value as it is written so that no two of them look alike. */
export function exact(value: unknown): unknown {
  if (Object.is(value, -0)) return { number: '-0' }
  if (Buffer.isBuffer(value)) return { buffer: value.toString('base64') }
  if (value instanceof Date) return { date: value.getTime() }
  return typeof value === 'bigint' || typeof value === 'number' ? { [typeof value]: String(value) } : value
}
