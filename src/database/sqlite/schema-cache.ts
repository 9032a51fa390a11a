/** A cache of what is known of statements, cleared when this or any other connection or process changes the schema. */
import type { Statement } from '../driver/statement'
import { blankNested, targetTableOf } from '../sql/rewrite'
import { TextCache } from '../sql/text-cache'
import type { BusyWaits, DatabaseFile } from './database-file'
import type { Column, SqliteConnection } from './driver'
import { StatementInfo } from './rows'
import { isQuery, ownStatement, SQLITE_LEXICON, withLimit } from './statements'

/** How often to look for changes by other processes: the PRAGMA costs a fifth of the shortest query. */
const CHECK_EVERY_MILLIS = 1000

const NO_INFO = new StatementInfo(null)
const INSERTS = new Set(['INSERT', 'REPLACE'])

export class SchemaCache {
  readonly #connection: SqliteConnection
  readonly #file: DatabaseFile
  readonly #waits: BusyWaits
  readonly #known = new TextCache<StatementInfo>(500)
  #version: unknown
  #checkedAt = -Infinity
  /** The value of the file's `schemaChanges` that this cache has taken into account. */
  #seenChanges = 0
  /** True once a file was attached: `schema_version` does not cover its changes. */
  #hasAttached = false
  /** True if this connection has changed the schema in a transaction that is still open. */
  hasUncommittedChange = false

  constructor(connection: SqliteConnection, file: DatabaseFile, waits: BusyWaits) {
    this.#connection = connection
    this.#file = file
    this.#waits = waits
  }

  /** Returns what is known of a statement. Called before it runs: later, an error would look like one of the statement. */
  describe(statement: Statement, isInTransaction: boolean): StatementInfo | Promise<StatementInfo> {
    const { facts, take, isPartOfBulk } = statement
    const hasNoRows = take === 'count' && !facts.hasReturning
    if (hasNoRows && (isPartOfBulk === true || !INSERTS.has(facts.verb))) {
      // A check within the transaction would hold for that transaction only, and be repeated in every one that follows.
      const isBegin = facts.verb === 'BEGIN' && !isInTransaction
      return isBegin && this.#mustCheck ? this.#check(false).then(() => NO_INFO) : NO_INFO
    }
    return (
      (this.#mustCheck ? undefined : this.#known.get(statement.sql)) ??
      this.#lookUp(statement, isInTransaction)
    )
  }

  get #mustCheck(): boolean {
    return (
      this.#seenChanges !== this.#file.schemaChanges ||
      performance.now() - this.#checkedAt >= CHECK_EVERY_MILLIS
    )
  }

  async #lookUp(statement: Statement, isInTransaction: boolean): Promise<StatementInfo> {
    if (this.#mustCheck) await this.#check(isInTransaction)
    const known = this.#known.get(statement.sql)
    if (known !== undefined) return known
    const { sql, facts, take } = statement
    const limited = withLimit(statement)
    const hasRows = isQuery(statement) || facts.hasReturning
    const columns = hasRows ? await this.#columns(statement, take === 'first' ? limited : null) : null
    const found = new StatementInfo(columns, {
      roundsIntegers: this.#connection.roundsIntegers,
      firstRow: columns === null ? null : limited,
      setsRowid: !hasRows && INSERTS.has(facts.verb) && (await this.#insertsRowid(sql)),
    })
    this.#known.set(sql, found)
    return found
  }

  /** Asks for the columns of the very text that will run, so that a driver can keep the prepared statement. */
  async #columns(statement: Statement, limited: string | null): Promise<readonly Column[] | null> {
    const columnsOf = (asked: Statement): Promise<readonly Column[] | null> =>
      this.#waits.retry(() => this.#connection.columns(asked))
    // In an incomplete statement our LIMIT changes the error, which is to be that of the caller's text.
    return limited === null
      ? columnsOf(statement)
      : columnsOf({ ...statement, sql: limited }).catch(() => columnsOf(statement))
  }

  async #insertsRowid(sql: string): Promise<boolean> {
    const target = targetTableOf(sql, SQLITE_LEXICON)
    if (target === null || /\bdo\s+update\b/i.test(blankNested(sql, SQLITE_LEXICON))) return false
    const isWithoutRowid = ownStatement(
      'SELECT 1 FROM pragma_table_list WHERE wr AND name = ? COLLATE NOCASE',
    )
    const found = await this.#waits.retry(() =>
      this.#connection.all({ ...isWithoutRowid, bindings: [target] }),
    )
    return found.length === 0
  }

  async #check(isInTransaction: boolean): Promise<void> {
    const { schemaChanges } = this.#file
    this.#checkedAt = performance.now()
    const [row] = await this.#waits.retry(() => this.#connection.all(ownStatement('PRAGMA schema_version')))
    const version = row?.['schema_version']
    // A transaction sees the schema of its beginning, so that later changes have to be looked for after it.
    if (!isInTransaction) this.#seenChanges = schemaChanges
    if (version === this.#version && !this.#hasAttached) return
    this.#version = version
    // A connection prepares statements with the schema that it has loaded; a read makes it load a changed one.
    await this.#waits.retry(() => this.#connection.all(ownStatement('SELECT 1 FROM sqlite_schema LIMIT 1')))
    this.#clear()
  }

  /** Called after a change of the schema by this connection, or when one may have been rolled back. */
  noteChange(isAttach = false): void {
    this.hasUncommittedChange = true
    this.#hasAttached ||= isAttach
    this.#clear()
  }

  /** Tells the other connections of a change, which they see once its transaction has ended. */
  announce(): void {
    if (!this.hasUncommittedChange) return
    this.hasUncommittedChange = false
    this.#file.schemaChanges += 1
    this.#clear()
  }

  #clear(): void {
    this.#known.clear()
    this.#connection.finalizeStatements()
  }
}
