/** Runs a group of tests once per database: SQLite and PostgreSQL, or whatever TEST_DATABASE_URLS names. */
import { Database, type DatabaseOptions } from '../../src/database'
import type { Dialect, Scratch } from './scratch'
import { ScratchPostgres } from './scratch-postgres'
import { ScratchSqlite } from './scratch-sqlite'
import { failWith, leftBehind } from './standing-check'

/** The database that a group of tests runs on. */
export interface DatabaseContext {
  readonly dialect: Dialect
  /** The driver's name in a URL. */
  readonly driver: string
  /** The URL of the group's own database, which is empty at first and dropped at the end. Known once the hooks run. */
  readonly url: string
  /** The URL of a database in memory by the same driver, where the database is SQLite. */
  readonly memoryUrl: string
  /** Connects a Database, to the group's own database unless told otherwise; it is disconnected after the test. */
  open(options?: DatabaseOptions, url?: string): Promise<Database>
  /** Adds a Database that the test made itself to the standing check. */
  track(database: Database): Database
  /** Runs SQL beside the library, over a connection of the plain driver, such as a look at pg_stat_activity. */
  admin(sql: string, url?: string): Promise<Record<string, unknown>[]>
  /** Turns off the leak check of a test that holds a connection for long. */
  mayHoldLong(): void
  /** Makes a further database, dropped after the group, and returns its URL. */
  createDatabase(): Promise<string>
}

/**
 * Registers `tests` once per database. After each test the standing check fails it if it left a connection in use, a
 * transaction or a server open, or connections to the database after the disconnect.
 *
 * @example
 * eachDatabase('fetchVal', (context) => {
 *   it('returns the first column', async () => {
 *     const database = await context.open()
 *     expect(await database.fetchVal('select 1')).toBe(1)
 *   })
 * })
 */
export function eachDatabase(name: string, tests: (context: DatabaseContext) => void): void {
  for (const scratch of scratches(process.env['TEST_DATABASE_URLS'] ?? '')) {
    describe(`${name} on ${scratch.title}`, () => {
      const context = new Context(scratch)
      beforeAll(() => context.createDatabase())
      tests(context)
      // Registered last, these run after the hooks that `tests` registered.
      afterEach(async () => {
        failWith(await context.settle())
      })
      afterAll(() => scratch.dropAll())
    })
  }
}

/**
 * Reads TEST_DATABASE_URLS, a list with commas: `sqlite://` and `sqlite+appthreat://` stand for SQLite in files of its own, the URL of a
 * PostgreSQL database for the server on which scratch databases are made.
 */
export function scratches(list: string): Scratch[] {
  const urls = list
    .split(',')
    .map((url) => url.trim())
    .filter(Boolean)
  if (urls.length === 0) throw new Error('TEST_DATABASE_URLS names no database')
  const servers = urls.filter((url) => /^postgres(ql)?:\/\//.test(url))
  return urls.map((url) => {
    if (url === 'sqlite://') return new ScratchSqlite('sqlite3')
    if (url === 'sqlite+appthreat://') return new ScratchSqlite('appthreat')
    if (!servers.includes(url)) {
      // The URL itself stays out of the message: it may hold a password.
      throw new Error(
        'TEST_DATABASE_URLS takes sqlite://, sqlite+appthreat:// and postgresql://… URLs, separated by commas',
      )
    }
    return new ScratchPostgres(
      url,
      servers.length === 1 ? 'PostgreSQL' : `PostgreSQL at ${new URL(url).host}`,
    )
  })
}

/** Where SQLite's files are made, by each of its drivers that TEST_DATABASE_URLS names. */
export function sqliteScratches(): ScratchSqlite[] {
  return scratches(process.env['TEST_DATABASE_URLS'] ?? '').filter(
    (scratch) => scratch instanceof ScratchSqlite,
  )
}

/** All of the library's tests run with leak detection on, and no report may be false. */
const LEAK_THRESHOLD_MILLIS = 2000

class Context implements DatabaseContext {
  readonly dialect: Dialect
  readonly driver: string
  readonly #scratch: Scratch
  readonly #urls: string[] = []
  #databases: Database[] = []
  /** Databases with forceRollback, which are in a transaction until they are disconnected. */
  #rolledBack: Database[] = []
  #leaks: string[] = []
  #mayHoldLong = false

  constructor(scratch: Scratch) {
    this.dialect = scratch.dialect
    this.driver = scratch.driver
    this.#scratch = scratch
  }

  get url(): string {
    const [url] = this.#urls
    if (url === undefined)
      throw new Error('The database is made before the first test: ask for it in a test or hook')
    return url
  }

  async open(options?: DatabaseOptions, url = this.url): Promise<Database> {
    const watches = options?.pool?.leakTimeoutMillis === undefined
    const pool = { ...(watches && { leakThresholdMillis: LEAK_THRESHOLD_MILLIS }), ...options?.pool }
    const database = this.track(new Database(url, { ...options, pool }))
    if (pool.leakThresholdMillis === LEAK_THRESHOLD_MILLIS) {
      database.on('leak', ({ state, site, sql }) => {
        if (state === 'held')
          this.#leaks.push(`a leak was reported: ${site ?? 'nowhere'}, running ${sql ?? 'nothing'}`)
      })
    }
    if (options?.forceRollback) this.#rolledBack.push(database)
    await database.connect()
    return database
  }

  track(database: Database): Database {
    this.#databases.push(database)
    return database
  }

  get memoryUrl(): string {
    return `${this.url.split(':')[0]}://`
  }

  admin(sql: string, url = this.url): Promise<Record<string, unknown>[]> {
    return this.#scratch.query(url, sql)
  }

  async createDatabase(): Promise<string> {
    const url = await this.#scratch.create()
    this.#urls.push(url)
    return url
  }

  mayHoldLong(): void {
    this.#mayHoldLong = true
  }

  /** Runs the standing check and forgets the test's Databases. */
  async settle(): Promise<string[]> {
    const databases = this.#databases
    const rolledBack = this.#rolledBack
    this.#databases = []
    this.#rolledBack = []
    for (const database of rolledBack) await database.disconnect({ graceMillis: 0 })
    const leaks = this.#mayHoldLong ? [] : this.#leaks
    this.#leaks = []
    this.#mayHoldLong = false
    return [...leaks, ...(await leftBehind({ scratch: this.#scratch, urls: this.#urls, databases }))]
  }
}
