/** A lease that tells an observer what runs on it: the pool makes it instead of a Lease while somebody observes. */
import type { Limits } from '../context/limits'
import { type Cursor, type Result, type Row, shownSql, type Statement } from '../driver/statement'
import type { ObservedTransaction, Observation, Observer, StatementEnd, TransactionEnd } from '../observer'
import { Lease } from './lease'

const CHANGING = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE'])
const OPENING = new Set(['BEGIN', 'START'])
const COMMITTING = new Set(['COMMIT', 'END'])

export class ObservedLease extends Lease {
  readonly #observer: Observer
  #transaction: ObservedTransaction | null = null

  constructor(observer: Observer, ...lease: ConstructorParameters<typeof Lease>) {
    super(...lease)
    this.#observer = observer
  }

  /** Runs the work of the transaction that is open. */
  runInTransaction<T>(work: () => Promise<T>): Promise<T> {
    return this.#transaction === null ? work() : this.#transaction.run(work)
  }

  override end(...makeError: Parameters<Lease['end']>): void {
    super.end(...makeError)
    // What is open is rolled back when the connection is reset.
    this.#endTransaction('rolled back')
  }

  override begin(sql: string, limits: Limits): void {
    super.begin(sql, limits)
    this.#transaction ??= this.#observer.transaction()
    this.#start(sql, []).end({})
  }

  override runUnchecked(statement: Statement, limits: Limits): Promise<Result> {
    return this.#observe(statement, () => super.runUnchecked(statement, limits))
  }

  override runUninterrupted(statement: Statement, limits?: Limits): Promise<Result> {
    return this.#observe(statement, () => super.runUninterrupted(statement, limits))
  }

  override async openCursor(statement: Statement, isExclusive: boolean, limits: Limits): Promise<Cursor> {
    const observation = this.#start(shownSql(statement), statement.bindings)
    try {
      const cursor = await observation.run(() => super.openCursor(statement, isExclusive, limits))
      return new ObservedCursor(cursor, observation)
    } catch (error) {
      observation.end({ error })
      throw error
    }
  }

  async #observe(statement: Statement, run: () => Promise<Result>): Promise<Result> {
    const { verb, isMultiStatement } = statement.facts
    if (OPENING.has(verb) && !isMultiStatement) this.#transaction ??= this.#observer.transaction()
    const observation = this.#start(shownSql(statement), statement.bindings)
    let transactionEnd: TransactionEnd = 'rolled back'
    try {
      const result = await observation.run(run)
      observation.end(endOf(statement, result))
      if (COMMITTING.has(verb) && result.command !== 'ROLLBACK') transactionEnd = 'committed'
      return result
    } catch (error) {
      observation.end({ error })
      if (COMMITTING.has(verb) && this.session.broken !== null) transactionEnd = 'unknown'
      throw error
    } finally {
      if (!this.inTransaction) this.#endTransaction(transactionEnd)
    }
  }

  #start(sql: string, bindings: readonly unknown[]): Observation {
    return (this.#transaction ?? this.#observer).statement({ sql, bindings, label: this.label })
  }

  #endTransaction(end: TransactionEnd): void {
    this.#transaction?.end(end)
    this.#transaction = null
  }
}

function endOf({ facts: { isRead, verb } }: Statement, { rows, rowCount }: Result): StatementEnd {
  return {
    ...((isRead || rows.length > 0) && { returnedRows: rows.length }),
    ...(CHANGING.has(verb) && { changedRows: rowCount }),
  }
}

/** The cursor of a stream, which is observed as one statement from its opening to its end. */
class ObservedCursor implements Cursor {
  readonly #cursor: Cursor
  readonly #observation: Observation
  #rowCount = 0

  constructor(cursor: Cursor, observation: Observation) {
    this.#cursor = cursor
    this.#observation = observation
  }

  get isAtEnd(): boolean {
    return this.#cursor.isAtEnd
  }

  async read(count: number | null): Promise<readonly Row[]> {
    const rows = await this.#observation.run(() => this.#cursor.read(count))
    this.#rowCount += rows.length
    return rows
  }

  close(): Promise<void> {
    return this.#observation.run(() => this.#cursor.close())
  }

  streamEnded(error: unknown): void {
    this.#observation.end({ returnedRows: this.#rowCount, ...(error !== undefined && { error }) })
  }
}
