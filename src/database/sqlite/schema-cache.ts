/** What is known of statements as long as the schema stays as it is, whoever changes it. */
import type { Statement } from '../driver/statement'
import { blankNested, targetTableOf } from '../sql/rewrite'
import { TextCache } from '../sql/text-cache'
import type { Ask } from './busy-retry'
import { type Column, isQuery, own, type SqliteConnection } from './driver'
import { SQLITE_LEXICON } from './lexicon'
import { RowShape } from './rows'
import type { SharedFile } from './shared-file'

/** How often it looks for changes by other processes: a PRAGMA costs a fifth of the shortest query. */
const CHECK_EVERY_MILLIS = 1000

export interface Description {
  readonly shape: RowShape
  /** The same query, ending with its first row; null where it does not end by a line behind it. */
  readonly firstRow: string | null
  /** Whether the last id will be that of this INSERT: SQLite keeps an older one where no row with an id was inserted. */
  readonly givesId: boolean
}

const NOTHING: Description = { shape: new RowShape(null), firstRow: null, givesId: false }
const INSERTS = new Set(['INSERT', 'REPLACE'])

export class SchemaCache {
  readonly #connection: SqliteConnection
  readonly #file: SharedFile
  readonly #ask: Ask
  readonly #known = new TextCache<Description>(500)
  #version: unknown
  #checkedAt = -Infinity
  /** How many changes by this process it has seen. */
  #seen = 0
  /** With files attached, whose changes `schema_version` does not tell. */
  #hasAttached = false
  /** This connection has changed it, and may still roll that back. */
  isChanged = false

  constructor(connection: SqliteConnection, file: SharedFile, ask: Ask) {
    this.#connection = connection
    this.#file = file
    this.#ask = ask
  }

  /** Asked before it runs: an error would not be told from one of a statement that has written. */
  describe(statement: Statement, isInTransaction: boolean): Description | Promise<Description> {
    const { facts, take, isPartOfBulk } = statement
    const isCounted = take === 'count' && !facts.hasReturning
    if (isCounted && (isPartOfBulk === true || !INSERTS.has(facts.verb))) return NOTHING
    return (
      (this.#isDue ? undefined : this.#known.get(statement.sql)) ?? this.#find(statement, isInTransaction)
    )
  }

  get #isDue(): boolean {
    return (
      this.#seen !== this.#file.schemaChanges || performance.now() - this.#checkedAt >= CHECK_EVERY_MILLIS
    )
  }

  async #find(statement: Statement, isInTransaction: boolean): Promise<Description> {
    if (this.#isDue) await this.#check(isInTransaction)
    const known = this.#known.get(statement.sql)
    if (known !== undefined) return known
    const { sql, facts, take } = statement
    const hasRows = isQuery(statement) || facts.hasReturning
    const limited = withLimit(statement)
    const columns = hasRows ? await this.#columns(statement, take === 'first' ? limited : null) : null
    const found = {
      shape: new RowShape(columns),
      firstRow: columns === null ? null : limited,
      givesId: !hasRows && INSERTS.has(facts.verb) && (await this.#insertsRowid(sql)),
    }
    this.#known.set(sql, found)
    return found
  }

  /** Asks about the text that is going to run: a driver that prepares it for that keeps it. */
  async #columns(statement: Statement, limited: string | null): Promise<readonly Column[] | null> {
    const ask = (asked: Statement): Promise<readonly Column[] | null> =>
      this.#ask(() => this.#connection.columns(asked))
    // What is incomplete goes on into our LIMIT; the error is to be that of what the caller wrote.
    return limited === null ? ask(statement) : ask({ ...statement, sql: limited }).catch(() => ask(statement))
  }

  async #insertsRowid(sql: string): Promise<boolean> {
    const target = targetTableOf(sql, SQLITE_LEXICON)
    if (target === null || /\bdo\s+update\b/i.test(blankNested(sql, SQLITE_LEXICON))) return false
    const isWithoutRowid = own('SELECT 1 FROM pragma_table_list WHERE wr AND name = ? COLLATE NOCASE')
    const found = await this.#ask(() => this.#connection.all({ ...isWithoutRowid, bindings: [target] }))
    return found.length === 0
  }

  async #check(isInTransaction: boolean): Promise<void> {
    const { schemaChanges } = this.#file
    this.#checkedAt = performance.now()
    const [row] = await this.#ask(() => this.#connection.all(own('PRAGMA schema_version')))
    const version = row?.['schema_version']
    // A transaction goes on to see the schema of its beginning: what has changed since is to be seen after it.
    if (!isInTransaction) this.#seen = schemaChanges
    if (version === this.#version && !this.#hasAttached) return
    this.#version = version
    // Statements are prepared by the schema that the connection knows; a read makes it look whether that is still so.
    await this.#ask(() => this.#connection.all(own('SELECT 1 FROM sqlite_schema LIMIT 1')))
    this.#forget()
  }

  /** Called after a change by this connection, or when one may have been rolled back. */
  change(isAttach = false): void {
    this.isChanged = true
    this.#hasAttached ||= isAttach
    this.#forget()
  }

  /** Tells the other connections, which see a change once its transaction has ended. */
  tell(): void {
    if (!this.isChanged) return
    this.isChanged = false
    this.#file.schemaChanges += 1
    this.#forget()
  }

  #forget(): void {
    this.#known.clear()
    this.#connection.forgetStatements()
  }
}

/** VALUES take no LIMIT, and one around another lets SQLite choose other rows. */
function withLimit({ sql, facts }: Statement): string | null {
  return facts.verb === 'SELECT' && !/;|\/\*|\b(?:limit|values)\b/i.test(sql) ? `${sql}\nLIMIT 1` : null
}
