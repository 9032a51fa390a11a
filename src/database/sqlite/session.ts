/** A session on SQLite: runs statements on one connection and tracks its transaction, which no driver reports. */
import { setTimeout as pause } from 'node:timers/promises'
import {
  BufferedCursor,
  type Cursor,
  type Result,
  type Row,
  type Statement,
  BoundStatement,
} from '../driver/statement'
import type { Session } from '../driver/session'
import { ConnectionError } from '../errors'
import type { Unlock } from '../context/mutex'
import { isBusy, takeOverBusyTimeout, AbortableWaits } from './busy-retry'
import { ReadAheadCursor, readAhead, SteppingCursor } from './cursor'
import { isQuery, ownStatement, type SqliteConnection } from './driver'
import { ambiguousColumns } from './rows'
import { type StatementInfo, SchemaCache } from './schema-cache'
import type { SharedFile } from './shared-file'
import {
  answerInLostTransaction,
  endsTransaction,
  toImmediate,
  beginsDeferred,
  isInTransaction,
  refuseIgnoredPragma,
} from './transaction-state'

const SCHEMA_CHANGES = new Set(['CREATE', 'ALTER', 'DROP', 'ATTACH', 'DETACH'])
const CHANGES = new Set(['INSERT', 'REPLACE', 'UPDATE', 'DELETE'])
/** Verbs of statements that only read or write rows, and change nothing about the session. */
const ROW_VERBS = new Set([...CHANGES, 'SELECT', 'VALUES'])
/** How long a cancel lets a write in a transaction go on: an interrupt rolls back the whole transaction, not only a savepoint. */
const WRITE_GRACE_MILLIS = 100
/** Interrupts are repeated, because SQLite ignores one that comes before a statement's first step. */
const INTERRUPT_EVERY_MILLIS = 5

/** Settings of a connection that the caller may change, and that are reset for the next one. */
const SETTINGS = ['query_only', 'foreign_keys'] as const
type Settings = Readonly<Record<(typeof SETTINGS)[number], number>>

export class SqliteSession implements Session {
  readonly raw: object
  // Not needed: the answer to a COMMIT cannot be lost in a network.
  readonly transactionId = null
  readonly #connection: SqliteConnection
  readonly #file: SharedFile
  readonly #schema: SchemaCache
  /** The stream that has this connection for itself. */
  #cursor: SteppingCursor | null = null
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
  /** `lost`: SQLite has rolled the transaction back by itself, and the caller has not ended it yet. */
  #transaction: 'none' | 'open' | 'lost' = 'none'
  /** Counts transactions, so that a cursor can tell its own from a later one. */
  #transactionCount = 0
  /** True if a SAVEPOINT has opened the transaction, so that its RELEASE is a COMMIT. */
  #openedBySavepoint = false
  /** True once a statement, which may have read, has run in the transaction. */
  #hasRunStatement = false
  /** How long a statement waits for another process that writes. */
  #busyTimeoutMillis = 0
  #unlockWriter: Unlock | null = null
  readonly #waits = new AbortableWaits()

  constructor(connection: SqliteConnection, file: SharedFile) {
    this.raw = connection.raw
    this.#connection = connection
    this.#file = file
    this.#schema = new SchemaCache(connection, file, (call) =>
      this.#waits.retryWhileBusy(this.#busyTimeoutMillis, call),
    )
  }

  get broken(): Error | null {
    return this.#broken
  }

  get inTransaction(): boolean {
    return this.#transaction !== 'none'
  }

  get isClean(): boolean {
    return (
      !this.#isBusy &&
      !this.inTransaction &&
      !this.#schema.hasUncommittedChange &&
      !this.#hasChangedSettings &&
      (this.#cursor?.isClosed ?? true)
    )
  }

  /** True if the caller has changed a setting and not reset it. */
  get #hasChangedSettings(): boolean {
    return SETTINGS.some((name) => this.#settings[name] !== this.#initialSettings[name])
  }

  /** True if the connection refuses to write. */
  get isReadOnly(): boolean {
    return this.#settings.query_only === 1
  }

  outcomeOf(): Promise<'unknown'> {
    return Promise.resolve('unknown')
  }

  async run(statement: Statement): Promise<Result> {
    const endsAll = endsTransaction(statement)
    if (this.#transaction === 'lost') {
      if (endsAll) this.#transaction = 'none'
      return answerInLostTransaction(statement, endsAll)
    }
    const { verb, isRead } = statement.facts
    const isOpen = this.#transaction === 'open'
    if (isOpen && verb === 'PRAGMA') refuseIgnoredPragma(statement)
    this.#isWritingInTransaction = isOpen && !isRead
    // Not by #watch, which would take one more promise per statement.
    this.#isBusy = true
    try {
      if (!isRead && !endsAll && !beginsDeferred(statement)) {
        // The turn to write lasts until the end of the transaction, or of the statement outside of one.
        this.#unlockWriter ??= this.#file.writer.tryLock() ?? (await this.#waits.lock(this.#file.writer))
      }
      const known = this.#schema.describe(statement, isOpen)
      const description = known instanceof Promise ? await known : known
      const result = await this.#execute(toImmediate(statement), description)
      this.#hasRunStatement = isOpen
      if (!ROW_VERBS.has(verb)) await this.#updateState(statement, endsAll)
      return result
    } catch (error) {
      await this.#detectLostTransaction()
      throw error
    } finally {
      this.#onIdle()
    }
  }

  async #execute(statement: Statement, { shape, firstRow, setsRowid }: StatementInfo): Promise<Result> {
    const { facts, take, asArrays = false, bindings } = statement
    const { verb, isRead } = facts
    // `run` takes one step only: a query would stay unfinished and keep its snapshot of the file.
    if (take === 'count' && !facts.hasReturning && !isQuery(statement)) {
      const { rowCount: changed, lastId } = await this.#runInterruptible(statement, () =>
        this.#connection.run(statement),
      )
      // SQLite reports the figures of the last statement that changed something, which may be an earlier one.
      const rowCount = CHANGES.has(verb) ? changed : 0
      const id = setsRowid && rowCount > 0 ? lastId : null
      return resultOf(verb, [], rowCount, id, { changes: rowCount, lastID: lastId ?? 0 })
    }
    if (!shape.fitsObjects(asArrays)) {
      const { arrays } = this.#connection
      if (arrays === null) throw ambiguousColumns(statement)
      const rows = await this.#runInterruptible(statement, () => arrays(statement))
      return resultOfRows(verb, shape.fromArrays(rows, asArrays))
    }
    const isFirst = take === 'first' && isRead
    const rows = await this.#runInterruptible(statement, () => {
      if (!isFirst) return this.#connection.all(statement)
      if (firstRow === null) return this.#connection.first(statement)
      return this.#connection.all(new BoundStatement(firstRow, bindings, facts, { take }))
    })
    return resultOfRows(verb, shape.fromObjects(rows, statement))
  }

  /** Runs a call, marks the session as busy meanwhile, and looks for a lost transaction after an error. */
  async #watch<T>(work: () => Promise<T>): Promise<T> {
    this.#isBusy = true
    try {
      return await work()
    } catch (error) {
      await this.#detectLostTransaction()
      throw error
    } finally {
      this.#onIdle()
    }
  }

  #onIdle(): void {
    this.#isBusy = false
    if (this.#transaction === 'none') this.#releaseWriteTurn()
    if (this.#transaction !== 'open') this.#schema.announce()
  }

  /** Notices a transaction that an error has rolled back as a whole: https://www.sqlite.org/lang_transaction.html, section 3. */
  async #detectLostTransaction(): Promise<void> {
    if (this.#transaction !== 'open' || (await isInTransaction(this.#connection))) return
    this.#transaction = 'lost'
    this.#releaseWriteTurn()
  }

  /** Updates the state of the session after a statement. */
  async #updateState({ sql, facts: { verb } }: Statement, endsAll: boolean): Promise<void> {
    if (SCHEMA_CHANGES.has(verb)) this.#schema.noteChange(verb === 'ATTACH')
    if (verb === 'ROLLBACK' && this.#schema.hasUncommittedChange) this.#schema.noteChange()
    if (verb === 'PRAGMA')
      for (const name of SETTINGS) if (sql.toLowerCase().includes(name)) await this.#readSetting(name)
    if (endsAll) {
      this.#transaction = 'none'
    } else if (this.#transaction === 'none' && (verb === 'BEGIN' || verb === 'SAVEPOINT')) {
      this.#transaction = 'open'
      this.#transactionCount += 1
      this.#openedBySavepoint = verb === 'SAVEPOINT'
    } else if (this.#openedBySavepoint && verb === 'RELEASE' && !(await isInTransaction(this.#connection))) {
      this.#transaction = 'none'
    }
  }

  /** Runs a call that a cancel may interrupt, and repeats it while another process has the file locked. */
  async #runInterruptible<T>(statement: Statement, call: () => Promise<T>): Promise<T> {
    const { facts } = statement
    // Waiting is useless for a transaction that has read before it writes: its snapshot is outdated.
    const hasOutdatedSnapshot =
      this.#transaction === 'open' && this.#hasRunStatement && !facts.isRead && !endsTransaction(statement)
    this.#isInterruptible = true
    try {
      return await call()
    } catch (error) {
      if (hasOutdatedSnapshot || !isBusy(error)) throw error
      return await this.#waits.retryWhileBusy(this.#busyTimeoutMillis, call)
    } finally {
      this.#isInterruptible = false
    }
  }

  #releaseWriteTurn(): void {
    this.#unlockWriter?.()
    this.#unlockWriter = null
  }

  async openCursor(statement: Statement, isExclusive: boolean): Promise<Cursor> {
    const { facts } = statement
    if (!facts.isRead || (facts.verb !== 'SELECT' && facts.verb !== 'VALUES')) {
      return new BufferedCursor((await this.run({ ...statement, take: 'all' })).rows)
    }
    return this.#watch(async () => {
      if (this.#transaction === 'lost') answerInLostTransaction(statement, false)
      const isOpen = this.#transaction === 'open'
      const description = await this.#schema.describe(statement, isOpen)
      const { shape } = description
      if (!shape.fitsObjects(false))
        return new BufferedCursor((await this.#execute(statement, description)).rows)
      if (isExclusive) {
        const steps = await this.#runInterruptible(statement, () => this.#connection.step(statement, false))
        const read = (count: number | null): Promise<readonly Row[]> =>
          this.#watch(async () => {
            const rows = await this.#runInterruptible(statement, () => steps.read(count))
            return shape.fromObjects(rows, statement) as Row[]
          })
        return (this.#cursor = new SteppingCursor(steps, read))
      }
      const rows = await this.#runInterruptible(statement, () =>
        this.#file.isMemory ? this.#connection.all(statement) : readAhead(this.#connection, statement),
      )
      const transactionNumber = this.#transactionCount
      const isOver = (): boolean =>
        isOpen && (this.#transaction !== 'open' || this.#transactionCount !== transactionNumber)
      return new ReadAheadCursor(shape.fromObjects(rows, statement), isOver)
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
    const wasOpen = this.inTransaction
    if (this.#transaction === 'open') await this.#connection.run(ownStatement('ROLLBACK'))
    this.#transaction = 'none'
    this.#schema.announce()
    if (isNew) {
      for (const name of SETTINGS) await this.#readSetting(name)
      this.#initialSettings = this.#settings
      this.#busyTimeoutMillis = await takeOverBusyTimeout(this.#connection)
    }
    if (this.#hasChangedSettings) {
      for (const name of SETTINGS)
        await this.#connection.all(ownStatement(`PRAGMA ${name} = ${this.#initialSettings[name]}`))
      this.#settings = this.#initialSettings
    }
    this.#releaseWriteTurn()
    return wasOpen ? 'an open transaction, which was rolled back' : null
  }

  /** Reads a setting by PRAGMA: a SELECT would read the schema, and wait for a locked file. */
  async #readSetting(name: string): Promise<void> {
    const [row] = await this.#connection.all(ownStatement(`PRAGMA ${name}`))
    this.#settings = { ...this.#settings, ...row }
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
    this.#broken = new ConnectionError('The connection was closed.')
    this.#waits.abort()
    this.#closing ??= this.#interruptAndClose()
  }

  async close(): Promise<void> {
    this.#broken ??= new ConnectionError('The connection was closed.')
    await (this.#closing ??= this.#closeConnection())
  }

  /** Repeats the interrupt, because SQLite ignores one that comes before the first step, and the statement would run on. */
  async #interruptAndClose(): Promise<void> {
    this.#connection.interrupt()
    while (this.#isBusy) {
      await pause(INTERRUPT_EVERY_MILLIS)
      this.#connection.interrupt()
    }
    await this.#closeConnection()
  }

  async #closeConnection(): Promise<void> {
    await this.#cursor?.close()
    // The driver closes after the statement that still runs; SQLite then rolls an open transaction back.
    await this.#connection.close()
    this.#file.removeConnection()
    this.#transaction = 'none'
    this.#schema.announce()
    this.#releaseWriteTurn()
  }
}

function resultOfRows(verb: string, rows: readonly unknown[]): Result {
  return resultOf(verb, rows, CHANGES.has(verb) ? rows.length : 0, null, {})
}

function resultOf(
  command: string,
  rows: readonly unknown[],
  rowCount: number,
  lastInsertId: number | null,
  context: object,
): Result {
  return { rows, rowCount, lastInsertId, command, forKnex: { response: rows, context } }
}
