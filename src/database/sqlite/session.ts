/** One connection to a SQLite file: the session of its driver's connection, with the transaction state that no driver tells. */
import { setTimeout as pause } from 'node:timers/promises'
import { BufferedCursor } from '../driver/buffered-cursor'
import type { Cursor, Result, Row, Statement } from '../driver/statement'
import type { Session } from '../driver/session'
import { BoundStatement } from '../sql/bound-statement'
import { ConnectionError } from '../errors'
import type { Unlock } from '../context/mutex'
import { isBusy, takePatience, Waits } from './busy-retry'
import { AheadCursor, readAhead, SteppingCursor } from './cursor'
import { isQuery, own, type SqliteConnection } from './driver'
import { unclear } from './rows'
import { type Description, SchemaCache } from './schema-cache'
import type { SharedFile } from './shared-file'
import {
  answerLost,
  endsTransaction,
  immediate,
  isDeferred,
  isInTransaction,
  refuseIgnored,
} from './transaction-state'

const SCHEMA_CHANGES = new Set(['CREATE', 'ALTER', 'DROP', 'ATTACH', 'DETACH'])
const CHANGES = new Set(['INSERT', 'REPLACE', 'UPDATE', 'DELETE'])
/** Reads or writes rows, which changes nothing about the session. */
const ROWS = new Set([...CHANGES, 'SELECT', 'VALUES'])
/** A write that is interrupted takes its whole transaction along, with all that is around a savepoint: most end by themselves. */
const WRITE_GRACE_MILLIS = 100
/** SQLite forgets an interrupt that comes before a statement's first step. */
const INTERRUPT_EVERY_MILLIS = 5

/** Settings of a connection that its user may change, and that are put back for the next one. */
const SETTINGS = ['query_only', 'foreign_keys'] as const
type Settings = Readonly<Record<(typeof SETTINGS)[number], number>>

export class SqliteSession implements Session {
  readonly raw: object
  // A file has no connection that could be lost between a COMMIT and its answer.
  readonly transactionId = null
  readonly #connection: SqliteConnection
  readonly #file: SharedFile
  readonly #schema: SchemaCache
  /** The stream that reads here, with nobody beside it. */
  #cursor: SteppingCursor | null = null
  #broken: Error | null = null
  #shutting: Promise<void> | null = null
  /** A call is under way. */
  #isBusy = false
  /** … and runs what its caller asked for, which may be interrupted; our own questions on the way may not. */
  #isInterruptible = false
  #isWritingInTransaction = false
  /** As they are, and as they are to be for the next user. */
  #settings: Settings = { query_only: 0, foreign_keys: 1 }
  #wanted = this.#settings
  /** `lost`: SQLite has rolled it back by itself, and nobody who works in it knows yet. */
  #transaction: 'none' | 'open' | 'lost' = 'none'
  /** Counts them, so that one is told from the next. */
  #transactions = 0
  /** Opened by a SAVEPOINT without a BEGIN, so that its RELEASE is a COMMIT. */
  #openedBySavepoint = false
  /** A statement has run in the transaction, and may have read. */
  #hasRun = false
  /** How long it waits for another process to end its writing. */
  #patienceMillis = 0
  #endWriting: Unlock | null = null
  readonly #waits = new Waits()

  constructor(connection: SqliteConnection, file: SharedFile) {
    this.raw = connection.raw
    this.#connection = connection
    this.#file = file
    this.#schema = new SchemaCache(connection, file, (call) =>
      this.#waits.whileBusy(this.#patienceMillis, call),
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
      !this.#schema.isChanged &&
      !this.#isSet &&
      (this.#cursor?.isClosed ?? true)
    )
  }

  /** Its user has changed a setting, and not put it back. */
  get #isSet(): boolean {
    return SETTINGS.some((name) => this.#settings[name] !== this.#wanted[name])
  }

  /** Told to refuse to write. */
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
      return answerLost(statement, endsAll)
    }
    const { verb, isRead } = statement.facts
    const isOpen = this.#transaction === 'open'
    if (isOpen && verb === 'PRAGMA') refuseIgnored(statement)
    this.#isWritingInTransaction = isOpen && !isRead
    // As in #watch, which would take another promise for each statement.
    this.#isBusy = true
    try {
      if (!isRead && !endsAll && !isDeferred(statement)) {
        // The writer's turn lasts as long as its transaction, or else as its statement.
        this.#endWriting ??= this.#file.writer.tryLock() ?? (await this.#waits.forTurn(this.#file.writer))
      }
      const known = this.#schema.describe(statement, isOpen)
      const description = known instanceof Promise ? await known : known
      const result = await this.#execute(immediate(statement), description)
      this.#hasRun = isOpen
      if (!ROWS.has(verb)) await this.#follow(statement, endsAll)
      return result
    } catch (error) {
      await this.#lookForLoss()
      throw error
    } finally {
      this.#rest()
    }
  }

  async #execute(statement: Statement, { shape, firstRow, givesId }: Description): Promise<Result> {
    const { facts, take, asArrays = false, bindings } = statement
    const { verb, isRead } = facts
    // One step is only the beginning of a query, which would keep its view of the file.
    if (take === 'count' && !facts.hasReturning && !isQuery(statement)) {
      const { rowCount: changed, lastId } = await this.#attempt(statement, () =>
        this.#connection.run(statement),
      )
      // SQLite's figures are those of the last statement that changed something, however long ago it was.
      const rowCount = CHANGES.has(verb) ? changed : 0
      const id = givesId && rowCount > 0 ? lastId : null
      return resultOf(verb, [], rowCount, id, { changes: rowCount, lastID: lastId ?? 0 })
    }
    if (!shape.fitsObjects(asArrays)) {
      const { arrays } = this.#connection
      if (arrays === null) throw unclear(statement)
      const rows = await this.#attempt(statement, () => arrays(statement))
      return resultOfRows(verb, shape.fromArrays(rows, asArrays))
    }
    const isFirst = take === 'first' && isRead
    const rows = await this.#attempt(statement, () => {
      if (!isFirst) return this.#connection.all(statement)
      if (firstRow === null) return this.#connection.first(statement)
      return this.#connection.all(new BoundStatement(firstRow, bindings, facts, { take }))
    })
    return resultOfRows(verb, shape.fromObjects(rows, statement))
  }

  /** Runs a call, and sees what it has left behind. */
  async #watch<T>(work: () => Promise<T>): Promise<T> {
    this.#isBusy = true
    try {
      return await work()
    } catch (error) {
      await this.#lookForLoss()
      throw error
    } finally {
      this.#rest()
    }
  }

  #rest(): void {
    this.#isBusy = false
    if (this.#transaction === 'none') this.#stopWriting()
    if (this.#transaction !== 'open') this.#schema.tell()
  }

  /** An error may have rolled the whole transaction back: https://www.sqlite.org/lang_transaction.html, section 3. */
  async #lookForLoss(): Promise<void> {
    if (this.#transaction !== 'open' || (await isInTransaction(this.#connection))) return
    this.#transaction = 'lost'
    this.#stopWriting()
  }

  /** Keeps up with what a statement has done to the session. */
  async #follow({ sql, facts: { verb } }: Statement, endsAll: boolean): Promise<void> {
    if (SCHEMA_CHANGES.has(verb)) this.#schema.change(verb === 'ATTACH')
    if (verb === 'ROLLBACK' && this.#schema.isChanged) this.#schema.change()
    if (verb === 'PRAGMA')
      for (const name of SETTINGS) if (sql.toLowerCase().includes(name)) await this.#readSetting(name)
    if (endsAll) {
      this.#transaction = 'none'
    } else if (this.#transaction === 'none' && (verb === 'BEGIN' || verb === 'SAVEPOINT')) {
      this.#transaction = 'open'
      this.#transactions += 1
      this.#openedBySavepoint = verb === 'SAVEPOINT'
    } else if (this.#openedBySavepoint && verb === 'RELEASE' && !(await isInTransaction(this.#connection))) {
      this.#transaction = 'none'
    }
  }

  /** Runs a call that a cancel may interrupt, again as long as another process has the file locked. */
  async #attempt<T>(statement: Statement, call: () => Promise<T>): Promise<T> {
    const { facts } = statement
    // A transaction that has read before it writes waits in vain: what it has read is out of date by then.
    const isLate =
      this.#transaction === 'open' && this.#hasRun && !facts.isRead && !endsTransaction(statement)
    this.#isInterruptible = true
    try {
      return await call()
    } catch (error) {
      if (isLate || !isBusy(error)) throw error
      return await this.#waits.whileBusy(this.#patienceMillis, call)
    } finally {
      this.#isInterruptible = false
    }
  }

  #stopWriting(): void {
    this.#endWriting?.()
    this.#endWriting = null
  }

  async openCursor(statement: Statement, isExclusive: boolean): Promise<Cursor> {
    const { facts } = statement
    if (!facts.isRead || (facts.verb !== 'SELECT' && facts.verb !== 'VALUES')) {
      return new BufferedCursor((await this.run({ ...statement, take: 'all' })).rows)
    }
    return this.#watch(async () => {
      if (this.#transaction === 'lost') answerLost(statement, false)
      const isOpen = this.#transaction === 'open'
      const description = await this.#schema.describe(statement, isOpen)
      const { shape } = description
      if (!shape.fitsObjects(false))
        return new BufferedCursor((await this.#execute(statement, description)).rows)
      if (isExclusive) {
        const steps = await this.#attempt(statement, () => this.#connection.step(statement, false))
        const read = (count: number | null): Promise<readonly Row[]> =>
          this.#watch(async () => {
            const rows = await this.#attempt(statement, () => steps.read(count))
            return shape.fromObjects(rows, statement) as Row[]
          })
        return (this.#cursor = new SteppingCursor(steps, read))
      }
      const rows = await this.#attempt(statement, () =>
        this.#file.isMemory ? this.#connection.all(statement) : readAhead(this.#connection, statement),
      )
      const number = this.#transactions
      const isOver = (): boolean => isOpen && (this.#transaction !== 'open' || this.#transactions !== number)
      return new AheadCursor(shape.fromObjects(rows, statement), isOver)
    })
  }

  async cancel(): Promise<void> {
    const patientUntil = performance.now() + (this.#isWritingInTransaction ? WRITE_GRACE_MILLIS : 0)
    while (this.#isBusy && this.#broken === null) {
      // Each time, as it may find the file locked, and begin to wait, only now.
      this.#waits.abort()
      if (this.#isInterruptible && performance.now() >= patientUntil) this.#connection.interrupt()
      await pause(INTERRUPT_EVERY_MILLIS)
    }
  }

  async ping(): Promise<void> {
    await this.#connection.all(own('SELECT 1'))
  }

  async reset(isNew = false): Promise<string | null> {
    await this.#cursor?.close()
    const wasOpen = this.inTransaction
    if (this.#transaction === 'open') await this.#connection.run(own('ROLLBACK'))
    this.#transaction = 'none'
    this.#schema.tell()
    if (isNew) {
      for (const name of SETTINGS) await this.#readSetting(name)
      this.#wanted = this.#settings
      this.#patienceMillis = await takePatience(this.#connection)
    }
    if (this.#isSet) {
      for (const name of SETTINGS) await this.#connection.all(own(`PRAGMA ${name} = ${this.#wanted[name]}`))
      this.#settings = this.#wanted
    }
    this.#stopWriting()
    return wasOpen ? 'an open transaction, which was rolled back' : null
  }

  /** Not by a SELECT, which would read the schema, and wait for a file that is locked. */
  async #readSetting(name: string): Promise<void> {
    const [row] = await this.#connection.all(own(`PRAGMA ${name}`))
    this.#settings = { ...this.#settings, ...row }
  }

  // There is no way back but to open the file anew; a database in memory would be gone.
  discardSettings(): Promise<'unchanged' | 'mustClose'> {
    return Promise.resolve(this.#file.isMemory ? 'unchanged' : 'mustClose')
  }

  // A file is not lost while it is open.
  onLost(): void {}

  // A file that is open does not keep Node running.
  keepProcessAlive(): void {}

  destroy(): void {
    if (this.#broken !== null) return
    this.#broken = new ConnectionError('The connection was closed.')
    this.#waits.abort()
    this.#shutting ??= this.#interruptAndShut()
  }

  async close(): Promise<void> {
    this.#broken ??= new ConnectionError('The connection was closed.')
    await (this.#shutting ??= this.#shut())
  }

  /** Once is not enough: an interrupt that comes before the first step is forgotten, and the statement would run for ever. */
  async #interruptAndShut(): Promise<void> {
    this.#connection.interrupt()
    while (this.#isBusy) {
      await pause(INTERRUPT_EVERY_MILLIS)
      this.#connection.interrupt()
    }
    await this.#shut()
  }

  async #shut(): Promise<void> {
    await this.#cursor?.close()
    // Queued behind whatever still runs; SQLite rolls an open transaction back as it closes.
    await this.#connection.close()
    this.#file.leave()
    this.#transaction = 'none'
    this.#schema.tell()
    this.#stopWriting()
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
