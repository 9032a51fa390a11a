/** The written interface says what queries return and the tables take, for every odd table, as the compiler judges it. */
import { type Database, QueryError, type Row } from '../../src/database'
import { readPostgres } from '../../src/cli/read-postgres'
import { readSqlite } from '../../src/cli/read-sqlite'
import { literal, writeInterface } from '../../src/cli/write-interface'
import { eachDatabase } from '../support/each-database'
import { compilerErrors } from './compiler-errors'
import { ODD_TABLES, type OddTable, quoted } from './unusual-tables'

/** Writes a value as TypeScript that has its type. */
function expressionOf(value: unknown): string {
  if (typeof value === 'bigint') return `${value}n`
  if (value instanceof Date) return `new Date(${value.getTime()})`
  if (Buffer.isBuffer(value)) return `Buffer.from('')`
  if (Array.isArray(value)) return `[${value.map(expressionOf).join(', ')}]`
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).map(([name, member]) => `${literal(name)}: ${expressionOf(member)}`)
    return `{ ${members.join(', ')} }`
  }
  return typeof value === 'string' ? literal(value) : String(value)
}

/** Inserts a row by plain SQL, because its names are odd. */
async function insert(
  database: Database,
  name: string,
  row: Readonly<Record<string, unknown>>,
): Promise<void> {
  const columns = Object.keys(row)
  const values = Object.fromEntries(Object.values(row).map((value, index) => [`v${index}`, value]))
  const [names, places] = [
    columns.map(quoted).join(', '),
    Object.keys(values)
      .map((at) => `:${at}`)
      .join(', '),
  ]
  const what = columns.length === 0 ? 'default values' : `(${names}) values (${places})`
  await database.execute(`insert into ${quoted(name)} ${what}`, values)
}

/** Returns the row that an INSERT into the empty table has made, or null if it was refused; nothing is kept. */
function tryInsert(
  database: Database,
  name: string,
  row: Readonly<Record<string, unknown>>,
): Promise<Row | null> {
  return database.transaction(
    async () => {
      await database.execute(`delete from ${quoted(name)}`)
      try {
        await insert(database, name, row)
        return await database.fetchOne(database.table(name))
      } catch (error) {
        if (!(error instanceof QueryError)) throw error
        return null
      }
    },
    { forceRollback: true },
  )
}

/** Claims about the types of a table, each of which the database has shown to be true. */
async function claimsAbout(database: Database, { name, row }: OddTable): Promise<string[]> {
  const key = literal(name)
  const rows = await database.fetchAll(database.table(name))
  const claims = rows.map((found) => `claim<Row<${key}>>(${expressionOf(found)})`)
  if (row === undefined) return claims
  const given = Object.fromEntries(
    Object.entries(row).map(([column, value]) => [column, isDocument(value) ? null : value]),
  )
  claims.push(`claim<NewRow<${key}>>(${expressionOf(given)})`)
  for (const column of Object.keys(rows[0] ?? {})) {
    const { [column]: _value, ...others } = row
    const isGenerated = (await tryInsert(database, name, { [column]: rows[0]?.[column], ...row })) === null
    claims.push(`claim<Equal<Has<NewRow<${key}>, ${literal(column)}>, ${!isGenerated}>>(true)`)
    if (isGenerated) continue
    const left = await tryInsert(database, name, others)
    claims.push(`claim<Equal<MayLeaveOut<NewRow<${key}>, ${literal(column)}>, ${left !== null}>>(true)`)
    const nulled = await tryInsert(database, name, { ...row, [column]: null })
    const isNullable = nulled !== null && nulled[column] === null
    claims.push(`claim<MayBeNull<Row<${key}>[${literal(column)}], ${isNullable}>>(true)`)
  }
  return claims
}

function isDocument(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'toPostgres' in value
}

const CLAIMS_HEAD = `import type { NewRow, Row } from './tables'
declare function claim<T>(value: T): void
type Equal<A, B> = [A, B] extends [B, A] ? true : false
type Has<T, K extends string> = K extends keyof T ? true : false
type MayLeaveOut<T, K extends keyof T> = {} extends Pick<T, K> ? true : false
/** A document is unknown, which includes null. */
type MayBeNull<T, Expected> = unknown extends T ? true : Equal<null extends T ? true : false, Expected>
`

eachDatabase('The interface of odd tables', (context) => {
  it('compiles, and has the types of the values that queries return and that tables take', async () => {
    const database = await context.open()
    const { dialect } = context
    const tables = ODD_TABLES.filter(({ only }) => only === undefined || only === dialect)
    expect(tables.length).toBeGreaterThan(35)
    for (const { name, make = [], columns, constraints = '', row } of tables) {
      for (const sql of make) await database.execute(sql)
      if (columns !== undefined) {
        const list = Object.entries(columns).map(([column, type]) => `${quoted(column)} ${type}`)
        await database.execute(`create table ${quoted(name)} (${list.join(', ')}${constraints})`)
      }
      if (row !== undefined) await insert(database, name, row)
    }
    const schema =
      dialect === 'sqlite'
        ? await readSqlite(database, context.driver === 'appthreat')
        : await readPostgres(database, ['public', 'own', 'Odd "Schema"'])
    expect(schema.notes).toEqual([])
    expect(schema.tables.map(({ name }) => name).toSorted()).toEqual(
      tables.map(({ name }) => name).toSorted(),
    )

    const claims: string[] = []
    for (const table of tables) claims.push(...(await claimsAbout(database, table)))
    expect(claims.length).toBeGreaterThan(150)
    const files = { 'tables.ts': writeInterface(schema.tables), 'claims.ts': CLAIMS_HEAD + claims.join('\n') }
    expect(compilerErrors(files)).toBe('')
  })
})
