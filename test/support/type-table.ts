/** The table of types: values that are stored and the values that are read. Run as a program, it prints the latter. */
import { Database, json } from '../../src/database'

export interface TypeRow {
  readonly type: string
  readonly value: unknown
  readonly postgresql: unknown
  /** Left out for a type that SQLite has not. */
  readonly sqlite?: unknown
}

const MOMENT = '2026-03-08T06:30:00.123Z'
/** A date before time zones, when local time differed from UTC by a fraction of a minute. */
const OLD = '1800-01-01T00:00:00.123Z'
const OLDEST = '-000100-01-01T00:00:00.000Z'
const LARGE = 9_007_199_254_740_993n

/** The table in docs/queries.md as data. Dates and buffers are written as {@link encode} writes them. */
export const TYPE_TABLE: readonly TypeRow[] = [
  { type: 'integer', value: 7, postgresql: 7, sqlite: 7 },
  { type: 'smallint', value: 7n, postgresql: 7, sqlite: 7 },
  { type: 'bigint', value: 7, postgresql: '7', sqlite: 7 },
  { type: 'bigint', value: LARGE, postgresql: String(LARGE), sqlite: String(LARGE) },
  { type: 'numeric(20, 4)', value: '0.7000', postgresql: '0.7000', sqlite: 0.7 },
  { type: 'real', value: 1.5, postgresql: 1.5, sqlite: 1.5 },
  { type: 'double precision', value: 0.1, postgresql: 0.1, sqlite: 0.1 },
  { type: 'boolean', value: true, postgresql: true, sqlite: true },
  { type: 'boolean', value: false, postgresql: false, sqlite: false },
  { type: 'text', value: 'müßig', postgresql: 'müßig', sqlite: 'müßig' },
  { type: 'varchar(5)', value: 'ducks', postgresql: 'ducks', sqlite: 'ducks' },
  { type: 'date', value: '2026-03-08', postgresql: '2026-03-08', sqlite: '2026-03-08' },
  { type: 'time', value: '02:30:00', postgresql: '02:30:00', sqlite: '02:30:00' },
  {
    type: 'timestamp',
    value: new Date(MOMENT),
    postgresql: { date: MOMENT },
    sqlite: '2026-03-08 06:30:00.123',
  },
  { type: 'timestamptz', value: new Date(MOMENT), postgresql: { date: MOMENT } },
  {
    type: 'timestamp',
    value: new Date(OLD),
    postgresql: { date: OLD },
    sqlite: '1800-01-01 00:00:00.123',
  },
  { type: 'timestamptz', value: new Date(OLD), postgresql: { date: OLD } },
  { type: 'timestamptz', value: new Date(OLDEST), postgresql: { date: OLDEST } },
  { type: 'timestamptz[]', value: [new Date(OLD), null], postgresql: [{ date: OLD }, null] },
  { type: 'json', value: json({ a: [1, null] }), postgresql: { a: [1, null] }, sqlite: { a: [1, null] } },
  { type: 'jsonb', value: json(['a', { b: 1 }]), postgresql: ['a', { b: 1 }], sqlite: ['a', { b: 1 }] },
  {
    type: 'bytea',
    value: Buffer.from('ducks'),
    postgresql: { hex: '6475636b73' },
    sqlite: { hex: '6475636b73' },
  },
  {
    type: 'uuid',
    value: '7d444840-9dc0-11d1-b245-5ffdce74fad2',
    postgresql: '7d444840-9dc0-11d1-b245-5ffdce74fad2',
    sqlite: '7d444840-9dc0-11d1-b245-5ffdce74fad2',
  },
  { type: 'integer[]', value: [1, 2], postgresql: [1, 2] },
  { type: 'bigint[]', value: [1, LARGE], postgresql: ['1', String(LARGE)] },
  { type: 'date[]', value: ['2026-03-08'], postgresql: ['2026-03-08'] },
  { type: 'timestamptz[]', value: [new Date(MOMENT)], postgresql: [{ date: MOMENT }] },
  { type: 'numeric[]', value: ['0.7000', null], postgresql: ['0.7000', null] },
  { type: 'name[]', value: ['ducks'], postgresql: ['ducks'] },
  { type: 'interval', value: '1 day 2 hours', postgresql: { days: 1, hours: 2 } },
  { type: 'point', value: '(1,2)', postgresql: { x: 1, y: 2 } },
  { type: 'int4range', value: '[1,5)', postgresql: '[1,5)' },
  { type: 'int4range[]', value: ['[1,5)'], postgresql: ['[1,5)'] },
]

/** The rows of one database: without integers that sqlite3 rounds, and refuses. */
export function typeRows(dialect: 'postgresql' | 'sqlite', driver: string): readonly TypeRow[] {
  const rows = TYPE_TABLE.filter((row) => dialect === 'postgresql' || row.sqlite !== undefined)
  return dialect === 'sqlite' && driver === 'sqlite3' ? rows.filter(({ value }) => value !== LARGE) : rows
}

function encode(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(encode)
  if (value instanceof Date) return { date: value.toISOString() }
  return Buffer.isBuffer(value) ? { hex: value.toString('hex') } : value
}

async function print(url: string): Promise<void> {
  const database = new Database(url)
  await database.connect()
  const found: unknown[] = []
  const { dialect, driver } = database.url
  for (const { type, value } of typeRows(
    dialect === 'sqlite' ? dialect : 'postgresql',
    driver || 'sqlite3',
  )) {
    await database.execute('drop table if exists typed')
    await database.execute(`create table typed (x ${type})`)
    await database.execute('insert into typed values (:value)', { value })
    found.push(encode(await database.fetchVal('select x from typed')))
  }
  await database.execute('drop table typed')
  await database.disconnect()
  process.stdout.write(JSON.stringify({ offset: new Date(MOMENT).getTimezoneOffset(), found }))
}

const [url] = process.argv.slice(2)
if (require.main === module && url !== undefined) void print(url)
