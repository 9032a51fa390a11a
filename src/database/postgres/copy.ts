/**
 * Inserts many rows into PostgreSQL by COPY instead of INSERT, where the two have the same effect. What it brings
 * is in bench/RESULTS.md, by `npm run bench -- --parts=bulk`, which sets executeMany beside knex.batchInsert.
 * An INSERT that says more than table, columns and values, such as an alias, is sent as it is; so are all if `run` returns null.
 */
import { rowsPerInsert } from '../sql/bulk-insert'
import type { Result, Statement, InsertTarget } from '../driver/statement'
import type { Session } from '../driver/session'
import { toParameter } from './parameters'
import type { PgConnection, QueryObject, RawConnection } from './pg-client'
import { ownStatement } from './simple-query'

/** Characters in one message, unless one row has more. */
const MESSAGE_LENGTH = 64_000

/**
 * Returns whether COPY has the effect of an INSERT. It has not where a table has rules or row-level security, for a column
 * that is GENERATED ALWAYS AS IDENTITY (an INSERT refuses values for it), and for a column of type `interval day`, in which
 * COPY reads `1` as a day and INSERT as a second.
 */
const TAKES_COPY = `
  SELECT EXISTS (
    SELECT FROM pg_class AS c
    WHERE c.oid = to_regclass($1) AND c.relkind IN ('r', 'p') AND NOT c.relhasrules AND NOT row_security_active(c.oid)
      AND NOT EXISTS (
        SELECT FROM pg_attribute AS a
        WHERE a.attrelid = c.oid AND (a.attidentity = 'a' OR a.atttypid = 'interval'::regtype AND a.atttypmod >= 0)
          AND a.attname IN (SELECT (parse_ident(given))[1] FROM unnest($2::text[]) AS given)
      )
  ) AS takes`

/** The part of a session that is used here. */
interface CopySession extends Pick<Session, 'run'> {
  readonly raw: RawConnection
  /** Waits for a query that was sent without {@link run}. */
  waitFor<T>(sent: Promise<T>, statement: Statement): Promise<T>
}

interface CopyAnswer {
  readonly rowCount: number
  readonly transactionId: string | null
}

export interface CopyResult {
  readonly result: Result
  /** The id of its transaction, if that was asked for. */
  readonly transactionId: string | null
}

export class PostgresCopies {
  readonly #session: CopySession
  /** By call of executeMany: it is one transaction, and no other session can alter a table that an open transaction has written to. */
  readonly #copyable = new WeakMap<InsertTarget, boolean>()
  /** The targets for which the server has accepted a COPY. */
  readonly #accepted = new WeakSet<InsertTarget>()

  constructor(session: CopySession) {
    this.#session = session
  }

  /** Copies the rows, or returns null if they have to be inserted. `asksTransactionId`: also asks for the transaction's id. */
  async run(
    statement: Statement,
    into: InsertTarget,
    asksTransactionId: boolean,
  ): Promise<CopyResult | null> {
    const { bindings, facts } = statement
    const width = into.columns.length
    const isFull = bindings.length >= rowsPerInsert(width) * width
    // For fewer rows TAKES_COPY would cost more than COPY gains.
    if (!(this.#copyable.get(into) ?? isFull)) return null
    const data = messagesOf(bindings, width)
    if (data === null || !(await this.#takesCopy(into))) return null
    const sql = `COPY ${into.table} (${into.columns.join(', ')}) FROM STDIN`
    const { raw } = this.#session
    const sendsAtOnce = this.#accepted.has(into)
    const { rowCount, transactionId } = await this.#session.waitFor(
      copy(raw, sql, data, asksTransactionId, sendsAtOnce),
      statement,
    )
    this.#accepted.add(into)
    const response = { command: facts.verb, rowCount, rows: [], fields: [] }
    const result = { rows: [], rowCount, lastInsertId: null, command: facts.verb, forKnex: { response } }
    return { result, transactionId }
  }

  async #takesCopy(into: InsertTarget): Promise<boolean> {
    const known = this.#copyable.get(into)
    if (known !== undefined) return known
    const { rows } = await this.#session.run(ownStatement(TAKES_COPY, [into.table, into.columns]))
    const { takes } = rows[0] as { takes: boolean }
    this.#copyable.set(into, takes)
    return takes
  }
}

/**
 * Writes rows in COPY's text format: https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.2. A value is the text
 * that an INSERT would bind. Returns null if a value is bytes, which an INSERT binds in binary.
 */
function messagesOf(bindings: readonly unknown[], width: number): readonly Buffer[] | null {
  const messages: Buffer[] = []
  let text = ''
  for (let at = 0; at < bindings.length; at += 1) {
    const parameter = toParameter(bindings[at])
    if (Buffer.isBuffer(parameter)) return null
    text += parameter === null ? '\\N' : escaped(parameter)
    const isLast = (at + 1) % width === 0
    text += isLast ? '\n' : '\t'
    if (isLast && (text.length > MESSAGE_LENGTH || at + 1 === bindings.length)) {
      messages.push(Buffer.from(text))
      text = ''
    }
  }
  return messages
}

const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' }

function escaped(text: string): string {
  return /[\\\t\n\r]/.test(text) ? text.replace(/[\\\t\n\r]/g, (character) => ESCAPES[character] ?? '') : text
}

function copy(
  raw: RawConnection,
  sql: string,
  data: readonly Buffer[],
  asksTransactionId: boolean,
  sendsAtOnce: boolean,
): Promise<CopyAnswer> {
  const text = asksTransactionId ? `${sql}; SELECT txid_current()::text` : sql
  return new Promise((resolve, reject) => {
    raw.query(
      new CopyQuery(text, data, sendsAtOnce, (error, answer) => {
        if (error === null) resolve(answer)
        else reject(error)
      }),
    )
  })
}

/** A query object for pg's Client that runs a COPY: https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY */
class CopyQuery implements QueryObject {
  readonly text: string
  readonly name = null
  readonly #data: readonly Buffer[]
  /**
   * Sends the data together with the statement, without waiting for the server to ask: the program may be busy preparing
   * the next rows. A server that refuses the statement drops the data.
   */
  readonly #sendsAtOnce: boolean
  /** pg looks for this name, to end its own `query_timeout`. */
  readonly callback: (error: Error | null, answer: CopyAnswer) => void
  #rowCount: number | null = null
  #transactionId: string | null = null

  constructor(text: string, data: readonly Buffer[], sendsAtOnce: boolean, callback: CopyQuery['callback']) {
    this.text = text
    this.#data = data
    this.#sendsAtOnce = sendsAtOnce
    this.callback = callback
  }

  submit(connection: PgConnection): null {
    const { stream } = connection
    stream.cork()
    connection.query(this.text)
    if (this.#sendsAtOnce) this.#send(connection)
    stream.uncork()
    return null
  }

  handleCopyInResponse(connection: PgConnection): void {
    if (!this.#sendsAtOnce) this.#send(connection)
  }

  #send(connection: PgConnection): void {
    connection.stream.cork()
    for (const rows of this.#data) connection.sendCopyFromChunk(rows)
    connection.endCopyFrom()
    connection.stream.uncork()
  }

  handleCommandComplete({ text }: { readonly text: string }): void {
    this.#rowCount ??= Number(text.slice(text.lastIndexOf(' ') + 1))
  }

  handleRowDescription(): void {}

  handleDataRow({ fields }: { readonly fields: readonly (string | null)[] }): void {
    this.#transactionId = fields[0] ?? null
  }

  handleError(error: Error): void {
    this.callback(error, this.#answer)
  }

  handleReadyForQuery(): void {
    this.callback(null, this.#answer)
  }

  get #answer(): CopyAnswer {
    return { rowCount: this.#rowCount ?? 0, transactionId: this.#transactionId }
  }
}
