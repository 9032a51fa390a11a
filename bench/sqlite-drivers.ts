/** SQLite's drivers by themselves, as they are written for by hand: one connection, and statements that are prepared once. */
import type sqlite3 from 'sqlite3'

/** By their names in a URL. */
const DRIVERS = {
  sqlite3: () => require('sqlite3') as typeof sqlite3,
  appthreat: () => (require('@appthreat/sqlite3') as { default: typeof sqlite3 }).default,
} as const

export type DriverName = keyof typeof DRIVERS

/** The package of each. */
export const PACKAGES: Readonly<Record<DriverName, string>> = {
  sqlite3: 'sqlite3',
  appthreat: '@appthreat/sqlite3',
}

/** Those that run on this release of Node. */
export const RUNNING_HERE: readonly DriverName[] =
  Number.parseInt(process.versions.node, 10) >= 22 ? ['sqlite3', 'appthreat'] : ['sqlite3']

export function urlOf(driver: DriverName, file: string): string {
  return `${driver === 'sqlite3' ? 'sqlite' : `sqlite+${driver}`}:///${file}`
}

/** What of a URL says which driver is to open which file. */
function partsOf(url: string): { readonly driver: DriverName; readonly file: string } {
  const [, driver = 'sqlite3', file = ''] = /^sqlite(?:\+(\w+))?:\/\/\/(.*)$/.exec(url) ?? []
  return { driver: driver as DriverName, file }
}

export function fileOf(url: string): string {
  return partsOf(url).file
}

/** Calls back with an error or a result. */
type Callback<T> = (error: Error | null, result?: T) => void

export function settled<T = void>(call: (done: Callback<T>) => unknown): Promise<T> {
  return new Promise((resolve, reject) => {
    call((error, result) => (error === null ? resolve(result as T) : reject(error)))
  })
}

export async function openDriver(url: string): Promise<sqlite3.Database> {
  const { driver, file } = partsOf(url)
  const { Database } = DRIVERS[driver]()
  let db: sqlite3.Database | undefined
  await settled((done) => (db = new Database(file, done)))
  return db as unknown as sqlite3.Database // set before its callback is called
}

export async function prepareOn(db: sqlite3.Database, text: string): Promise<sqlite3.Statement> {
  let statement: sqlite3.Statement | undefined
  await settled((done) => (statement = db.prepare(text, done)))
  return statement as unknown as sqlite3.Statement // likewise
}

type Value = string | number

/** Runs one prepared statement, and resolves to its rows. */
export type All = <R = unknown>(...values: readonly Value[]) => Promise<R[]>
/** Runs one prepared statement that has no rows. */
export type Run = (...values: readonly Value[]) => Promise<void>

export interface PreparedFile {
  all(text: string): Promise<All>
  run(text: string): Promise<Run>
  /** Transactions wait for one another, since there is one connection. They write, so they begin with the lock. */
  transaction<T>(work: () => Promise<T>): Promise<T>
  close(): Promise<void>
}

/** Opens a file that is in WAL mode already. */
export async function openPreparedFile(url: string): Promise<PreparedFile> {
  const db = await openDriver(url)
  const statements: sqlite3.Statement[] = []
  await settled((done) => db.exec('PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON', done))

  async function prepare(text: string): Promise<sqlite3.Statement> {
    const statement = await prepareOn(db, text)
    statements.push(statement)
    return statement
  }
  async function run(text: string): Promise<Run> {
    const statement = await prepare(text)
    return (...values) => settled((done) => statement.run(values, done))
  }
  const begin = await run('BEGIN IMMEDIATE')
  const commit = await run('COMMIT')
  const rollback = await run('ROLLBACK')
  let last: Promise<unknown> = Promise.resolve()

  return {
    run,

    // Not `get`, which would leave the statement open behind its row, and with it a view of the file.
    async all(text) {
      const statement = await prepare(text)
      return <R>(...values: readonly Value[]) => settled<R[]>((done) => statement.all<R>(values, done))
    },

    transaction(work) {
      const result = last.then(async () => {
        await begin()
        try {
          const value = await work()
          await commit()
          return value
        } catch (error) {
          await rollback()
          throw error
        }
      })
      last = result.catch(() => undefined)
      return result
    },

    async close() {
      for (const statement of statements) await new Promise<void>((done) => statement.finalize(() => done()))
      await settled((done) => db.close(done))
    },
  }
}
