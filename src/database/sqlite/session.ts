/** A session on SQLite: runs statements on one connection and tracks its transaction, which no driver reports. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Unlock } from '../context/mutex'
import type { Session } from '../driver/session'
import {
  BoundStatement,
  BufferedCursor,
  type Cursor,
  type Result,
  type Row,
  type Statement,
} from '../driver/statement'
import { ConnectionError, QueryError, TransactionClosedError } from '../errors'
import { readAhead, SqliteCursor } from './cursor'
import { BusyWaits, type DatabaseFile, isBusy } from './database-file'
import type { Changes, SqliteConnection } from './driver'
import { ambiguousColumns, type StatementInfo } from './rows'
import { SchemaCache } from './schema-cache'
import {
  beginsDeferred,
  endsTransaction,
  isQuery,
  ownStatement,
  rebuildError,
  toImmediate,
} from './statements'

const SCHEMA_CHANGES = new Set(['CREATE', 'ALTER', 'DROP', 'ATTACH', 'DETACH'])
const CHANGES = new Set(['INSERT', 'REPLACE', 'UPDATE', 'DELETE'])
/** Verbs of statements that only read or write rows, and change nothing about the session. */
const ROW_VERBS = new Set([...CHANGES, 'SELECT', 'VALUES'])
/** How long a cancel lets a write in a transaction go on: an interrupt rolls back the whole transaction, not only a savepoint. */
const WRITE_GRACE_MILLIS = 100
/** Interrupts are repeated, because SQLite ignores one that comes before a statement's first step. */
const INTERRUPT_EVERY_MILLIS = 5

/** Rows of a batch of those that were read ahead. */
const BATCH_SIZE = 256

/** Settings of a connection that the caller may change, and that are reset for the next one. */
const SETTINGS = ['query_only', 'foreign_keys'] as const
type Settings = Readonly<Record<(typeof SETTINGS)[number], number>>

class OpenTransaction {
  /** True once SQLite has rolled it back by itself, and the caller has not ended it yet. */
  isLost = false
  /** True once a statement, which may have read, has run in it. */
  hasRunStatement = false
  /** True if a SAVEPOINT has opened it, so that its RELEASE is a COMMIT. */
  readonly isOpenedBySavepoint: boolean

  constructor(isOpenedBySavepoint: boolean) {
    this.isOpenedBySavepoint = isOpenedBySavepoint
  }
}

export class SqliteSession implements Session {
  readonly raw: object
  // Not needed: the answer to a COMMIT cannot be lost in a network.
  readonly transactionId = null
  readonly #connection: SqliteConnection
  readonly #file: DatabaseFile
  readonly #waits = new BusyWaits()
  readonly #schema: SchemaCache
  /** The stream that has this connection for itself. */
  #cursor: SqliteCursor | null = null
  #broken: Error | null = null
  #closing: Promise<void> | null = null
  /** True while a call runs. */
  #isBusy = false
  /** True while the caller's statement runs, which a cancel may interrupt; the library's own queries must not be. */
  #isInterruptible = false
  #isWritingInTransaction = false
  /** The present settings, and those that the next caller is to get. */
  #settings: Settings = { query_only: 0, foreign_keys: 1 }
  #initialSettings = this.#settings
  #transaction: OpenTransaction | null = null
  #unlockWriter: Unlock | null = null

  constructor(connection: SqliteConnection, file: DatabaseFile) {
    this.raw = connection.raw
    this.#connection = connection
    this.#file = file
    this.#schema = new SchemaCache(connection, file, this.#waits)
  }

  get broken(): Error | null {
    return this.#broken
  }

  get inTransaction(): boolean {
    return this.#transaction !== null
  }

  get isClean(): boolean {
    return (
      !this.#isBusy &&
      this.#transaction === null &&
      !this.#schema.hasUncommittedChange &&
      !this.#hasChangedSettings &&
      (this.#cursor?.isClosed ?? true)
    )
  }

  /** True if the caller has changed a setting and not reset it. */
  get #hasChangedSettings(): boolean {
    const { query_only, foreign_keys } = this.#initialSettings
    return this.#settings.query_only !== query_only || this.#settings.foreign_keys !== foreign_keys
  }

  /** True if the connection refuses to write. */
  get isReadOnly(): boolean {
    return this.#settings.query_only === 1
  }

  outcomeOf(): Promise<'unknown'> {
    return Promise.resolve('unknown')
  }

  run(statement: Statement): Promise<Result> {
    return this.#transaction?.isLost === true
      ? this.#runInLostTransaction(statement)
      : this.#perform(
          statement,
          (info) => this.#send(statement, info),
          (answer, info) => new SqliteResult(statement, answer, info),
        )
  }

  /**
   * Makes a call for a statement: waits for its turn to write, allows a cancel to interrupt it, repeats it while another process
   * has the file locked, and notes what it has done to the session. `convert` makes the result of the driver's answer.
   */
  async #perform<A, R>(
    statement: Statement,
    call: (info: StatementInfo) => Promise<A>,
    convert: (answer: A, info: StatementInfo) => R,
  ): Promise<R> {
    const { verb, isRead } = statement.facts
    const endsAll = endsTransaction(statement)
    const transaction = this.#transaction
    if (transaction !== null && verb === 'PRAGMA') refuseIgnoredPragma(statement)
    this.#isWritingInTransaction = transaction !== null && !isRead
    this.#isBusy = true
    try {
      if (this.#unlockWriter === null && !isRead && !endsAll && !beginsDeferred(statement)) {
        // The turn to write lasts until the end of the transaction, or of the statement outside of one.
        this.#unlockWriter = this.#file.writer.tryLock() ?? (await this.#waits.lock(this.#file.writer))
      }
      const known = this.#schema.describe(statement, transaction !== null)
      const info = known instanceof Promise ? await known : known
      this.#isInterruptible = true
      let answer: A
      try {
        answer = await call(info)
      } catch (error) {
        // Waiting is useless for a transaction that has read before it writes: its snapshot is outdated.
        const hasOutdatedSnapshot = transaction?.hasRunStatement === true && !isRead && !endsAll
        if (hasOutdatedSnapshot || !isBusy(error)) throw error
        answer = await this.#waits.retry(() => call(info))
      }
      this.#isInterruptible = false
      const result = convert(answer, info)
      if (transaction !== null) transaction.hasRunStatement = true
      if (!ROW_VERBS.has(verb)) await this.#updateState(statement, endsAll)
      return result
    } catch (error) {
      this.#isInterruptible = false
      await this.#detectLostTransaction()
      throw error
    } finally {
      this.#isBusy = false
      if (this.#transaction === null) this.#releaseWriteTurn()
      if (this.#transaction?.isLost !== false) this.#schema.announce()
    }
  }

  /**
   * Answers a statement in a transaction that SQLite has rolled back by itself, as PostgreSQL does in an aborted one: a
   * statement that ends it gets the result of a ROLLBACK, any other one fails.
   */
  async #runInLostTransaction(statement: Statement): Promise<Result> {
    const { sql, facts } = statement
    if (endsTransaction(statement)) this.#transaction = null
    else if (facts.verb !== 'ROLLBACK' && facts.verb !== 'RELEASE')
      throw new QueryError(
        'The transaction was rolled back by SQLite because of an earlier error, so nothing runs in it any more.',
        sql,
      )
    const forKnex = { response: [], context: {} }
    return { rows: [], rowCount: 0, lastInsertId: null, command: 'ROLLBACK', forKnex }
  }

  /** Hands a statement to the driver. */
  #send(statement: Statement, info: StatementInfo): Promise<Answer> {
    const { facts, take, asArrays = false, bindings } = statement
    const { firstRow } = info
    // `run` takes one step only: a query would stay unfinished and keep its snapshot of the file.
    if (take === 'count' && !facts.hasReturning && !isQuery(statement))
      return this.#connection.run(toImmediate(statement))
    if (!info.fitsObjects(asArrays)) {
      const { arrays } = this.#connection
      if (arrays === null) throw ambiguousColumns(statement)
      return arrays(statement)
    }
    if (take !== 'first' || !facts.isRead) return this.#connection.all(statement)
    if (firstRow === null) return this.#connection.first(statement)
    return this.#connection.all(new BoundStatement(firstRow, bindings, facts, { take }))
  }

  /** Notices a transaction that an error has rolled back as a whole: https://www.sqlite.org/lang_transaction.html, section 3. */
  async #detectLostTransaction(): Promise<void> {
    if (this.#transaction === null || this.#transaction.isLost || (await this.#isInTransaction())) return
    this.#transaction.isLost = true
    this.#releaseWriteTurn()
  }

  /** Returns whether a transaction is open, by trying BEGIN, which fails if one is: there is no call for it. */
  async #isInTransaction(): Promise<boolean> {
    try {
      await this.#connection.run(ownStatement('BEGIN DEFERRED'))
    } catch {
      return true
    }
    await this.#connection.run(ownStatement('ROLLBACK'))
    return false
  }

  /** Updates the state of the session after a statement. */
  async #updateState({ sql, facts: { verb } }: Statement, endsAll: boolean): Promise<void> {
    if (SCHEMA_CHANGES.has(verb)) this.#schema.noteChange(verb === 'ATTACH')
    if (verb === 'ROLLBACK' && this.#schema.hasUncommittedChange) this.#schema.noteChange()
    if (verb === 'PRAGMA' && SETTINGS.some((name) => sql.toLowerCase().includes(name)))
      this.#settings = await this.#readSettings()
    if (endsAll) {
      this.#transaction = null
    } else if (this.#transaction === null) {
      if (verb === 'BEGIN' || verb === 'SAVEPOINT')
        this.#transaction = new OpenTransaction(verb === 'SAVEPOINT')
    } else if (this.#transaction.isOpenedBySavepoint && verb === 'RELEASE') {
      if (!(await this.#isInTransaction())) this.#transaction = null
    }
  }

  #releaseWriteTurn(): void {
    this.#unlockWriter?.()
    this.#unlockWriter = null
  }

  async openCursor(statement: Statement, isExclusive: boolean): Promise<Cursor> {
    const { verb, isRead } = statement.facts
    const transaction = this.#transaction
    if (!isRead || (verb !== 'SELECT' && verb !== 'VALUES') || transaction?.isLost === true)
      return new BufferedCursor((await this.run({ ...statement, take: 'all' })).rows)
    const open = async (info: StatementInfo): Promise<Cursor> => {
      const fitsObjects = info.fitsObjects(false)
      if (isExclusive && fitsObjects) return this.#connection.openCursor(statement, false)
      const isLimited = fitsObjects && !this.#file.isMemory
      const rows = await (isLimited ? readAhead(this.#connection, statement) : this.#send(statement, info))
      return new BufferedCursor(rows as readonly Row[])
    }
    return this.#perform(statement, open, (rows, info) => {
      const read = async (count: number | null): Promise<readonly Row[]> => {
        if (transaction !== null && (this.#transaction !== transaction || transaction.isLost))
          throw readTooLate()
        const next = (): Promise<readonly Row[]> => rows.read(count ?? (isExclusive ? null : BATCH_SIZE))
        return this.#perform(statement, next, (found) => info.rowsOf(found, statement) as readonly Row[])
      }
      return (this.#cursor = new SqliteCursor(rows, read))
    })
  }

  async cancel(): Promise<void> {
    const graceUntil = performance.now() + (this.#isWritingInTransaction ? WRITE_GRACE_MILLIS : 0)
    while (this.#isBusy && this.#broken === null) {
      // In each round, because the statement may begin to wait for a locked file at any moment.
      this.#waits.abort()
      if (this.#isInterruptible && performance.now() >= graceUntil) this.#connection.interrupt()
      await pause(INTERRUPT_EVERY_MILLIS)
    }
  }

  async ping(): Promise<void> {
    await this.#connection.all(ownStatement('SELECT 1'))
  }

  async reset(isNew = false): Promise<string | null> {
    await this.#cursor?.close()
    const transaction = this.#transaction
    if (transaction?.isLost === false) await this.#connection.run(ownStatement('ROLLBACK'))
    this.#transaction = null
    this.#schema.announce()
    if (isNew) {
      this.#initialSettings = this.#settings = await this.#readSettings()
      await this.#waits.takeOver(this.#connection)
    }
    if (this.#hasChangedSettings) {
      for (const name of SETTINGS)
        await this.#connection.all(ownStatement(`PRAGMA ${name} = ${this.#initialSettings[name]}`))
      this.#settings = this.#initialSettings
    }
    this.#releaseWriteTurn()
    return transaction === null ? null : 'an open transaction, which was rolled back'
  }

  /** Reads the settings by PRAGMA: a SELECT would read the schema, and wait for a locked file. */
  async #readSettings(): Promise<Settings> {
    let settings = this.#settings
    for (const name of SETTINGS) {
      const [row] = await this.#connection.all(ownStatement(`PRAGMA ${name}`))
      settings = { ...settings, ...row }
    }
    return settings
  }

  // SQLite cannot discard all settings: the file has to be opened again, which a database in memory would not survive.
  discardSettings(): Promise<'unchanged' | 'mustClose'> {
    return Promise.resolve(this.#file.isMemory ? 'unchanged' : 'mustClose')
  }

  // An open file cannot be lost.
  onLost(): void {}

  // An open file does not keep the process alive.
  keepProcessAlive(): void {}

  destroy(): void {
    if (this.#broken !== null) return
    this.#waits.abort()
    this.#connection.interrupt()
    void this.close()
  }

  close(): Promise<void> {
    this.#broken ??= new ConnectionError('The connection was closed.')
    return (this.#closing ??= this.#closeConnection())
  }

  async #closeConnection(): Promise<void> {
    // Repeated, because SQLite ignores an interrupt that comes before the first step, and the statement would run on.
    while (this.#isBusy) {
      await pause(INTERRUPT_EVERY_MILLIS)
      this.#connection.interrupt()
    }
    await this.#cursor?.close()
    // SQLite rolls an open transaction back.
    await this.#file.close(this.#connection)
    this.#transaction = null
    this.#schema.announce()
    this.#releaseWriteTurn()
  }
}

/** The driver's answer: its rows, or what a statement without rows has changed. */
type Answer = Changes | readonly unknown[]

/** A class instead of a literal, since it lives across an await: see docs/design.md. */
class SqliteResult implements Result {
  readonly command: string
  readonly rows: readonly unknown[]
  readonly rowCount: number
  readonly lastInsertId: number | null
  readonly #changes: Changes | null

  constructor(statement: Statement, answer: Answer, info: StatementInfo) {
    const { verb } = statement.facts
    this.command = verb
    this.#changes = 'rowCount' in answer ? answer : null
    this.rows = 'rowCount' in answer ? NO_ROWS : info.rowsOf(answer, statement)
    // SQLite reports the figures of the last statement that changed something, which may be an earlier one.
    this.rowCount = CHANGES.has(verb) ? (this.#changes?.rowCount ?? this.rows.length) : 0
    this.lastInsertId = info.setsRowid && this.rowCount > 0 ? (this.#changes?.lastId ?? null) : null
  }

  get forKnex(): Result['forKnex'] {
    const context = this.#changes && { changes: this.rowCount, lastID: this.#changes.lastId ?? 0 }
    return { response: this.rows, context: context ?? {} }
  }
}

const NO_ROWS: readonly unknown[] = []

/** @throws QueryError for a setting that SQLite silently ignores in a transaction */
function refuseIgnoredPragma({ sql }: Statement): void {
  if (/\bforeign_keys\s*[=(]/i.test(sql)) throw rebuildError(sql)
}

function readTooLate(): TransactionClosedError {
  return new TransactionClosedError(
    'The rows that are left cannot be read: the transaction that they were read in has ended. Read them before.',
  )
}
