/** `millpond types`: writes the tables of a database as a TypeScript interface, or checks that a file has them. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { Database, DatabaseURL } from '../database'
import { differences } from './differences'
import { readPostgres } from './read-postgres'
import { readSqlite } from './read-sqlite'
import { type Column, commonSchema, type Schema } from './schema'
import { UsageError } from './usage-error'
import { writeInterface } from './write-interface'

export const TYPES_HELP = `Usage: millpond types [options]

Writes a TypeScript interface of the tables and views of a database, for new Database<Tables>(url).

Options:
  --url <url>        The database; default: DATABASE_URL, also from .env. Given more than once, for a program that runs
                     on several kinds of database: the types hold for each of them
  --out <file>       The file to write; default: the standard output
  --check            Change nothing, and exit with 1 if the file is out of date: for CI and pre-commit hooks
  --schema <name>    A schema of PostgreSQL; may be repeated; default: those of the search path
  --exclude <name>   A table to leave out; may be repeated; * stands for any text. Tables that begin with knex_migrations
                     are always left out
  --type <table>.<column>=<type>
                     The type of a column, such as the form of a JSON document; may be repeated:
                     --type "events.payload=import('./payload').Payload"
  --help             This text

Exit codes: 0 done or up to date, 1 out of date, 2 any error.
`

/** @returns the exit code */
export async function typesCommand(args: readonly string[], defaultUrl: string | undefined): Promise<number> {
  const { url: urls, out, check: isCheck, schema: schemas, exclude, type } = readOptions(args)
  const [first, ...others] = urls ?? (defaultUrl === undefined || defaultUrl === '' ? [] : [defaultUrl])
  if (first === undefined) throw new UsageError('Which database? Give its --url, or set DATABASE_URL.')
  if (isCheck && out === undefined) throw new UsageError('--check needs the file: --out <file>.')
  const read = await Promise.all([first, ...others].map((url) => readSchema(url, schemas)))
  const { tables, notes } = withTypes(commonSchema(read.map((schema) => without(schema, exclude))), type)
  const text = writeInterface(tables)
  for (const note of notes) process.stderr.write(`${note}\n`)
  if (out === undefined) {
    process.stdout.write(text)
    return 0
  }
  const present = existsSync(out) ? readFileSync(out, 'utf8').replaceAll('\r\n', '\n') : null
  if (isCheck) return check(out, present, text)
  // A file that is the same is left alone, so that nothing is built anew because of it.
  if (present !== text) writeFileSync(out, text)
  process.stderr.write(`${out}: ${tables.length === 1 ? '1 table' : `${tables.length} tables`}\n`)
  return 0
}

function readOptions(args: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        url: { type: 'string', multiple: true },
        out: { type: 'string' },
        check: { type: 'boolean', default: false },
        schema: { type: 'string', multiple: true, default: [] },
        exclude: { type: 'string', multiple: true, default: [] },
        type: { type: 'string', multiple: true, default: [] },
      },
    })
    return values
  } catch (cause) {
    throw new UsageError(`${(cause as Error).message}\nmillpond types --help tells what there is.`, { cause })
  }
}

function check(out: string, present: string | null, text: string): number {
  if (present === text) return 0
  const what = present === null ? 'does not exist' : 'is out of date'
  process.stdout.write(`${out} ${what}. Run the same command without --check.\n`)
  if (present !== null) process.stdout.write(differences(present, text))
  return 1
}

const CONNECT_TIMEOUT_MILLIS = 5_000

async function readSchema(text: string, schemas: readonly string[]): Promise<Schema> {
  const url = new DatabaseURL(text)
  const isSqlite = url.dialect === 'sqlite'
  if (isSqlite && schemas.length > 0)
    throw new UsageError('--schema is for PostgreSQL: SQLite has no schemas.')
  // To connect would make the file.
  if (isSqlite && !url.isMemory && !existsSync(path.resolve(url.database)))
    throw new UsageError(`There is no file ${url.database}.`)
  await using database = new Database(url, {
    connectTimeoutMillis: CONNECT_TIMEOUT_MILLIS,
    pool: { size: 1 },
  })
  await database.connect()
  return isSqlite
    ? await readSqlite(database, url.driver === 'appthreat')
    : await readPostgres(database, schemas)
}

/** Leaves out what is not wanted, and the tables of Knex itself, by the beginning of the names that it gives them. */
function without({ tables, notes }: Schema, excluded: readonly string[]): Schema {
  const patterns = ['knex_migrations*', '*.knex_migrations*', ...excluded].map(
    (name) => new RegExp(`^${name.split('*').map(escaped).join('.*')}$`, 's'),
  )
  return { tables: tables.filter(({ name }) => !patterns.some((pattern) => pattern.test(name))), notes }
}

function escaped(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&')
}

/** Gives columns the types of the command line. */
function withTypes({ tables, notes }: Schema, given: readonly string[]): Schema {
  const types = new Map(
    given.map((text) => {
      const at = text.indexOf('=')
      if (at < 1 || text.slice(at + 1).trim() === '')
        throw new UsageError(`--type is <table>.<column>=<type>, not ${JSON.stringify(text)}.`)
      return [text.slice(0, at), text.slice(at + 1).trim()]
    }),
  )
  const retyped = tables.map((table) => ({
    ...table,
    columns: table.columns.map((column): Column => {
      const name = `${table.name}.${column.name}`
      const type = types.get(name)
      types.delete(name)
      if (type === undefined) return column
      // An array is a document only as json([…]), and an array of PostgreSQL without it.
      const isDocument = column.reads.includes('unknown')
      return {
        ...column,
        reads: [type],
        writes: isDocument ? [type, "import('millpond').JsonValue"] : [type],
      }
    }),
  }))
  const [unused] = types.keys()
  if (unused !== undefined) throw new UsageError(`--type: there is no column ${unused}.`)
  return { tables: retyped, notes }
}
