/** Prepared statements of one connection to SQLite: compiled once, the least used forgotten. */
import type sqlite3 from 'sqlite3'
import { ConnectionError } from '../errors'
import type { Row, Statement } from './dialect'
import { LONGEST_KEPT } from './text-cache'

/** How many are kept. */
const MOST = 200

/** What is worth keeping: everything but what changes the schema or the connection. */
export const QUERIES: readonly string[] = ['SELECT', 'VALUES']
const DATA = [...QUERIES, 'INSERT', 'REPLACE', 'UPDATE', 'DELETE']
const CONTROL = ['BEGIN', 'COMMIT', 'ROLLBACK', 'SAVEPOINT', 'RELEASE']
const KEPT = new Set([...DATA, ...CONTROL])

interface Kept {
  readonly prepared: sqlite3.Statement
  /** Its place in the order of use: the higher, the later. */
  lastRun: number
}

export interface Ran {
  readonly changes: number
  readonly lastID: number
}

/**
 * Runs statements of the driver. Preparing one takes a journey to a thread and back of its own, as long as that of running
 * it. SQLite prepares anew by itself what a change of the schema has made outdated.
 */
export class SqlitePrepared {
  readonly #raw: sqlite3.Database
  readonly #known = new Map<string, Kept>()
  #runs = 0
  #isClosed = false

  constructor(raw: sqlite3.Database) {
    this.#raw = raw
  }

  all(statement: Statement): Promise<Row[]> {
    const { bindings } = statement
    return this.#with(statement, (prepared, done) => {
      prepared.all<Row>(bindings, done)
    })
  }

  /** The first row of a result, or none. */
  first(statement: Statement): Promise<Row[]> {
    const { bindings } = statement
    return this.#with(statement, (prepared, done) => {
      prepared.get<Row>(bindings, (error: Error | null, row?: Row) => {
        if (error !== null || row === undefined) done(error, [])
        // Half-way through its result it would hold on to what the file was like.
        else prepared.reset(() => done(null, [row]))
      })
    })
  }

  /** How many rows were changed, and the id of the last one inserted: by whichever statement last did so. */
  run(statement: Statement): Promise<Ran> {
    const { bindings, facts } = statement
    return this.#with(statement, (prepared, done) => {
      prepared.run(bindings, function (this: sqlite3.RunResult, error: Error | null) {
        const { changes, lastID } = this
        // The driver takes one step, after which a query is half-way through its result.
        if (QUERIES.includes(facts.verb)) prepared.reset(() => done(error, { changes, lastID }))
        else done(error, { changes, lastID })
      })
    })
  }

  /** Whether a statement can be prepared. */
  async isValid(sql: string): Promise<boolean> {
    try {
      ;(await this.#prepare(sql)).finalize()
      return true
    } catch {
      return false
    }
  }

  /** Lets all of them go: a connection cannot be closed before. */
  close(): void {
    this.#isClosed = true
    for (const { prepared } of this.#known.values()) prepared.finalize()
    this.#known.clear()
  }

  async #with<T>(
    { sql, facts }: Statement,
    work: (prepared: sqlite3.Statement, done: (error: Error | null, result: T) => void) => void,
  ): Promise<T> {
    const known = this.#known.get(sql)
    const prepared = known?.prepared ?? (await this.#prepare(sql))
    const isKept = KEPT.has(facts.verb) && !facts.isSeveral && sql.length <= LONGEST_KEPT
    if (isKept) this.#keep(sql, known ?? { prepared, lastRun: 0 })
    try {
      const result = await new Promise<T>((resolve, reject) => {
        work(prepared, (error, result) => {
          if (error) reject(error)
          else resolve(result)
        })
      })
      if (!isKept) prepared.finalize()
      return result
    } catch (error) {
      // One that found the file locked counts as running, and while it does so an interrupt is not over.
      // When all were let go of meanwhile, it was as well, and the driver takes offence at a second time.
      if (!isKept || this.#known.delete(sql)) prepared.finalize()
      throw error
    }
  }

  /** As the one that was used last. */
  #keep(sql: string, statement: Kept): void {
    this.#runs += 1
    const isNew = statement.lastRun === 0
    statement.lastRun = this.#runs
    if (!isNew) return
    if (this.#known.size >= MOST) this.#forgetOldest()
    this.#known.set(sql, statement)
  }

  #forgetOldest(): void {
    let oldest: [string, Kept] | undefined
    for (const one of this.#known) if (one[1].lastRun < (oldest?.[1].lastRun ?? Infinity)) oldest = one
    if (oldest === undefined) return
    const [sql, { prepared }] = oldest
    this.#known.delete(sql)
    prepared.finalize()
  }

  #prepare(sql: string): Promise<sqlite3.Statement> {
    return new Promise((resolve, reject) => {
      const prepared = this.#raw.prepare(sql, (error: Error | null) => {
        if (error !== null) {
          reject(error)
        } else if (this.#isClosed) {
          // The connection is closed next, which it cannot be while there is a statement.
          prepared.finalize()
          reject(new ConnectionError('The connection was closed.'))
        } else {
          resolve(prepared)
        }
      })
    })
  }
}
