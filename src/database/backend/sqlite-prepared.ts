/** Prepared statements of one connection to SQLite: compiled once, the least used forgotten. */
import type sqlite3 from 'sqlite3'
import { ConnectionError } from '../errors'
import type { Row, Statement } from './dialect'
import { LONGEST_KEPT } from './text-cache'

/** How many are kept. */
const MOST = 200

/** What is worth keeping: everything but what changes the schema or the connection. */
export const QUERIES: readonly string[] = ['SELECT', 'VALUES']
export const DATA: ReadonlySet<string> = new Set([...QUERIES, 'INSERT', 'REPLACE', 'UPDATE', 'DELETE'])
const CONTROL = ['BEGIN', 'COMMIT', 'ROLLBACK', 'SAVEPOINT', 'RELEASE']
const KEPT = new Set([...DATA, ...CONTROL])

interface Kept {
  readonly prepared: sqlite3.Statement
  /** Its place in the order of use: the higher, the later. */
  lastRun: number
}

/** Runs a statement, and tells by one of two functions how that went. */
type Work<T> = (
  prepared: sqlite3.Statement,
  fail: (error: Error) => void,
  succeed: (result: T) => void,
) => void

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
  /** The one that is longer than others are kept, of a bulk import: its next piece mostly has the same text. */
  #long: string | null = null
  #isClosed = false

  constructor(raw: sqlite3.Database) {
    this.#raw = raw
  }

  /** What `of` makes of the rows, here and below: a promise of its own for that is a good part of what a statement costs. */
  all<T>(statement: Statement, of: (rows: Row[]) => T): Promise<T> {
    const { bindings } = statement
    return this.#with(statement, (prepared, fail, succeed) => {
      prepared.all<Row>(bindings, (error: Error | null, rows) => {
        if (error === null) succeed(of(rows))
        else fail(error)
      })
    })
  }

  /** The first row of a result, or none. */
  first<T>(statement: Statement, of: (rows: Row[]) => T): Promise<T> {
    const { bindings } = statement
    return this.#with(statement, (prepared, fail, succeed) => {
      prepared.get<Row>(bindings, (error: Error | null, row?: Row) => {
        if (error !== null) fail(error)
        else if (row === undefined) succeed(of([]))
        // Half-way through its result it would hold on to what the file was like.
        else prepared.reset(() => succeed(of([row])))
      })
    })
  }

  /** How many rows were changed, and the id of the last one inserted: by whichever statement last did so. */
  run<T>(statement: Statement, of: (ran: Ran) => T): Promise<T> {
    const { bindings, facts } = statement
    return this.#with(statement, (prepared, fail, succeed) => {
      prepared.run(bindings, function (this: sqlite3.RunResult, error: Error | null) {
        // The driver takes one step, after which a query is half-way through its result.
        if (error !== null) fail(error)
        else if (QUERIES.includes(facts.verb)) prepared.reset(() => succeed(of(this)))
        else succeed(of(this))
      })
    })
  }

  /** A question of our own, which comes often. */
  ask(sql: string): Promise<Row[]> {
    return this.#perform(sql, true, (prepared, fail, succeed) => {
      prepared.all<Row>((error: Error | null, rows: Row[]) => {
        if (error === null) succeed(rows)
        else fail(error)
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

  #with<T>({ sql, facts, isOneOfMany }: Statement, work: Work<T>): Promise<T> {
    const isWorthIt = sql.length <= LONGEST_KEPT || isOneOfMany === true
    const isKept = KEPT.has(facts.verb) && !facts.isSeveral && isWorthIt
    return this.#perform(sql, isKept, work)
  }

  #perform<T>(sql: string, isKept: boolean, work: Work<T>): Promise<T> {
    const known = this.#known.get(sql)
    if (known !== undefined) return this.#runKept(sql, known, work)
    return this.#prepare(sql).then((prepared) =>
      isKept ? this.#runKept(sql, { prepared, lastRun: 0 }, work) : runOnce(prepared, work),
    )
  }

  #runKept<T>(sql: string, statement: Kept, work: Work<T>): Promise<T> {
    this.#keep(sql, statement)
    const { prepared } = statement
    return new Promise((resolve, reject) => {
      const fail = (error: Error): void => {
        // One that found the file locked counts as running, and while it does so an interrupt is not over.
        // When all were let go of meanwhile, it was as well, and the driver takes offence at a second time.
        if (this.#known.delete(sql)) prepared.finalize()
        reject(error)
      }
      work(prepared, fail, resolve)
    })
  }

  /** As the one that was used last. */
  #keep(sql: string, statement: Kept): void {
    this.#runs += 1
    const isNew = statement.lastRun === 0
    statement.lastRun = this.#runs
    if (!isNew) return
    if (this.#known.size >= MOST) this.#forgetOldest()
    this.#known.set(sql, statement)
    if (sql.length <= LONGEST_KEPT) return
    if (this.#long !== null && this.#long !== sql) this.#forget(this.#long)
    this.#long = sql
  }

  #forgetOldest(): void {
    let oldest: [string, Kept] | undefined
    for (const one of this.#known) if (one[1].lastRun < (oldest?.[1].lastRun ?? Infinity)) oldest = one
    if (oldest === undefined) return
    this.#forget(oldest[0])
  }

  #forget(sql: string): void {
    this.#known.get(sql)?.prepared.finalize()
    this.#known.delete(sql)
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

function runOnce<T>(prepared: sqlite3.Statement, work: Work<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => work(prepared, reject, resolve)).finally(() => {
    prepared.finalize()
  })
}
