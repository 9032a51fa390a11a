/** One connection to a SQLite file: sqlite3's Database, with the transaction state that it does not tell. */
import { ConnectionError } from '../errors'
import type { Unlock } from '../mutex'
import { BufferedCursor } from './buffered-cursor'
import { isBusy, takePatience, Waits } from './sqlite-busy'
import { Columns } from './sqlite-columns'
import type { Cursor, Result, Session, Statement } from './dialect'
import { OpenCursors, openCopy, openStepping, readBy } from './sqlite-cursor'
import { exec, type RawConnection, repeatUntil, send } from './sqlite-driver'
import type { SqliteFile } from './sqlite-file'
import { DATA, QUERIES, SqlitePrepared } from './sqlite-prepared'
import { asDeclared } from './sqlite-types'
import { TypedStatements } from './sqlite-statements'
import {
  answerLost,
  endsTransaction,
  immediate,
  isDeferred,
  isInTransaction,
  isQueryOnly,
  type Writably,
  writably,
} from './sqlite-transactions'

/** A write that is interrupted takes its whole transaction along, with all that is around a savepoint: most end by themselves. */
const WRITE_GRACE_MILLIS = 100
const SCHEMA_CHANGES = new Set(['CREATE', 'ALTER', 'DROP', 'ATTACH', 'DETACH'])

export class SqliteSession implements Session {
  readonly raw: RawConnection
  // A file has no connection that could be lost between a COMMIT and its answer.
  readonly transactionId = null
  readonly #file: SqliteFile
  readonly #typed: TypedStatements
  readonly #columns: Columns
  readonly #prepared: SqlitePrepared
  readonly #cursors = new OpenCursors()
  #broken: Error | null = null
  #isShut = false
  /** A call is under way. */
  #isBusy = false
  /** … and runs what its caller asked for, which may be interrupted; our own questions on the way may not. */
  #isInterruptible = false
  #isWritingInTransaction = false
  /** Told to refuse to write. */
  isReadOnly = false
  #wasReadOnly = false
  /** In the transaction that is open, so that others see it only when that has ended. */
  #hasChangedSchema = false
  /** `lost`: SQLite has rolled it back by itself, and nobody who works in it knows yet. */
  #transaction: 'none' | 'open' | 'lost' = 'none'
  /** Opened by a SAVEPOINT without a BEGIN, so that its RELEASE is a COMMIT. */
  #isBare = false
  /** A statement has run in the transaction, and may have read. */
  #hasRun = false
  /** How long it waits for another process to end its writing. */
  #patienceMillis = 0
  #endWriting: Unlock | null = null
  readonly #waits = new Waits()

  constructor(raw: RawConnection, file: SqliteFile) {
    this.raw = raw
    this.#file = file
    this.#prepared = new SqlitePrepared(raw)
    this.#columns = new Columns(raw, this.#prepared, file, (work) => this.#writably(work))
    this.#typed = new TypedStatements(this.#columns, (statement) => this.#send(statement))
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
      !this.#hasChangedSchema &&
      this.isReadOnly === this.#wasReadOnly &&
      (this.#file.isMemory || this.#cursors.count === 0)
    )
  }

  outcomeOf(): Promise<'unknown'> {
    return Promise.resolve('unknown')
  }

  async run(statement: Statement): Promise<Result> {
    const endsAll = endsTransaction(statement)
    if (this.#transaction === 'lost') {
      if (endsAll) await this.#endTransaction()
      return answerLost(statement, endsAll)
    }
    const { verb, isRead, hasReturning } = statement.facts
    this.#isWritingInTransaction = this.#transaction === 'open' && !isRead
    this.#isBusy = true
    try {
      if (!isRead && !endsAll && !isDeferred(statement)) {
        // The writer's turn lasts as long as its transaction, or else as its statement.
        this.#endWriting ??= this.#file.writer.tryLock() ?? (await this.#waits.forTurn(this.#file.writer))
      }
      const ours = immediate(statement)
      const result = await (ours.take === 'count' && !hasReturning ? this.#send(ours) : this.#typed.run(ours))
      this.#hasRun = this.#transaction === 'open'
      // Rows that are read or written change nothing about the session.
      if (!DATA.has(verb)) await this.#follow(statement, endsAll)
      return result
    } catch (error) {
      await this.#lookForLoss()
      throw error
    } finally {
      this.#rest()
    }
  }

  /** Runs any other call in the same way. */
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

  /** An error may have rolled the whole transaction back: https://www.sqlite.org/lang_transaction.html, section 3. */
  async #lookForLoss(): Promise<void> {
    if (this.#transaction !== 'open' || (await isInTransaction(this.raw))) return
    await this.#endTransaction('lost')
    this.#stopWriting()
  }

  #rest(): void {
    this.#isBusy = false
    if (this.#transaction === 'none') this.#stopWriting()
    this.#forgetColumns()
  }

  /** Whatever was known of columns is so no longer: now for us, and for the others when the transaction has ended. */
  #forgetColumns(): void {
    if (!this.#hasChangedSchema) return
    this.#columns.forget()
    if (this.#transaction === 'open') return
    this.#file.changes += 1
    this.#hasChangedSchema = false
  }

  async #interruptibly<T>(work: () => Promise<T>): Promise<T> {
    this.#isInterruptible = true
    try {
      return await work()
    } finally {
      this.#isInterruptible = false
    }
  }

  #writably<T>(work: () => Promise<T>): Promise<T> {
    return this.isReadOnly ? writably(this.raw, work, () => this.destroy()) : work()
  }

  /** Keeps up with what a statement has done to the session. */
  async #follow({ sql, facts: { verb } }: Statement, endsAll: boolean): Promise<void> {
    if (SCHEMA_CHANGES.has(verb)) this.#hasChangedSchema = true
    if (verb === 'ATTACH') this.#columns.attach()
    if (verb === 'PRAGMA' && /query_only/i.test(sql)) this.isReadOnly = await isQueryOnly(this.raw)
    if (endsAll) {
      await this.#endTransaction()
    } else if (this.#transaction === 'none' && (verb === 'BEGIN' || verb === 'SAVEPOINT')) {
      this.#transaction = 'open'
      this.#isBare = verb === 'SAVEPOINT'
      this.#columns.begin()
    } else if (this.#isBare && verb === 'RELEASE' && !(await isInTransaction(this.raw))) {
      await this.#endTransaction()
    }
  }

  async #endTransaction(state: 'none' | 'lost' = 'none'): Promise<void> {
    this.#transaction = state
    this.#columns.end()
    // What the transaction has done is done, whether or not they can be closed.
    if (this.#cursors.count > 0) await this.#cursors.closeInTransaction().catch(() => undefined)
  }

  async #send(statement: Statement): Promise<Result> {
    // A transaction that has read before it writes waits in vain: what it has read is out of date by then.
    const isLate = this.#transaction === 'open' && this.#hasRun && !statement.facts.isRead
    this.#isInterruptible = true
    try {
      return await send(this.#prepared, statement)
    } catch (error) {
      if (isLate || !isBusy(error)) throw error
      return await this.#waits.whileBusy(this.#patienceMillis, () => send(this.#prepared, statement))
    } finally {
      this.#isInterruptible = false
    }
  }

  #stopWriting(): void {
    this.#endWriting?.()
    this.#endWriting = null
  }

  async openCursor(statement: Statement, alone: boolean): Promise<Cursor> {
    if (!statement.facts.isRead || !QUERIES.includes(statement.facts.verb)) {
      return new BufferedCursor((await this.run({ ...statement, take: 'all' })).rows)
    }
    return this.#watch(async () => {
      if (this.#transaction === 'lost') answerLost(statement, false)
      // It names its columns one by one, so that it must not be mistaken about them.
      await this.#columns.compare()
      const columns = (await this.#columns.of(statement)) ?? []
      const free: Writably = (work) => this.#writably(() => this.#interruptibly(work))
      // Others write on this connection while it is read, or have a statement interrupted, unless nobody else has it.
      const opening = alone
        ? Promise.resolve(openStepping(this.raw, statement, columns))
        : openCopy(this.raw, this.#prepared, statement, columns, free)
      const cursor = await this.#cursors.add(opening, this.#transaction === 'open')
      const read: Cursor['read'] = async (count) =>
        asDeclared(await this.#interruptibly(() => cursor.read(count)), columns)
      return readBy(cursor, (count) => this.#watch(() => read(count)))
    })
  }

  async cancel(): Promise<void> {
    const patientUntil = performance.now() + (this.#isWritingInTransaction ? WRITE_GRACE_MILLIS : 0)
    await repeatUntil(
      () => !this.#isBusy || this.#broken !== null,
      () => {
        // Each time, as it may find the file locked, and begin to wait, only now.
        this.#waits.abort()
        if (this.#isInterruptible && performance.now() >= patientUntil) this.raw.interrupt()
      },
    )
  }

  async ping(): Promise<void> {
    await exec(this.raw, 'SELECT 1')
  }

  async reset(isNew = false): Promise<string | null> {
    // In memory there is one connection for all, and a cursor on it takes turns with them.
    if (!this.#file.isMemory) await this.#cursors.closeAll()
    const wasOpen = this.inTransaction
    if (this.#transaction === 'open') await exec(this.raw, 'ROLLBACK')
    if (wasOpen) await this.#endTransaction()
    this.#forgetColumns()
    if (isNew) {
      this.#wasReadOnly = this.isReadOnly
      this.#patienceMillis = await takePatience(this.raw)
    }
    if (this.isReadOnly !== this.#wasReadOnly) {
      await exec(this.raw, `PRAGMA query_only = ${this.#wasReadOnly ? 'ON' : 'OFF'}`)
      this.isReadOnly = this.#wasReadOnly
    }
    this.#stopWriting()
    return wasOpen ? 'an open transaction, which was rolled back' : null
  }

  // There is no way back but to open the file anew; a database in memory would be gone.
  renew(): Promise<'kept' | 'spent'> {
    return Promise.resolve(this.#file.isMemory ? 'kept' : 'spent')
  }

  // A file is not lost while it is open.
  whenLost(): void {}

  // A file that is open does not keep Node running.
  hold(): void {}

  destroy(): void {
    if (this.#broken !== null) return
    this.#broken = new ConnectionError('The connection was closed.')
    this.#waits.abort()
    this.raw.interrupt()
    void this.#shut()
  }

  async close(): Promise<void> {
    this.#broken ??= new ConnectionError('The connection was closed.')
    await this.#shut()
  }

  async #shut(): Promise<void> {
    if (this.#isShut) return
    this.#isShut = true
    await this.#cursors.closeAll().catch(() => undefined)
    this.#prepared.close()
    // Queued behind whatever still runs; SQLite rolls an open transaction back as it closes.
    await new Promise((resolve) => this.raw.close(resolve))
    this.#transaction = 'none'
    this.#forgetColumns()
    this.#stopWriting()
  }
}
