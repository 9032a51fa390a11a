/** Many rows for PostgreSQL by COPY, in a part of the time of an INSERT, where it does nothing else than one would. */
import { rowsPerInsert } from '../sql/bulk-insert'
import type { Result, Statement, InsertTarget } from '../driver/statement'
import type { Session } from '../driver/session'
import { plainly } from './own-statement'
import { COPY_DONE, copyData, toParameter } from './protocol'

/** Characters in one message, unless one row has more. */
const MESSAGE_LENGTH = 64_000

/**
 * COPY knows no rules, refuses tables with row-level security, writes what an INSERT refuses into a column that is
 * GENERATED ALWAYS AS IDENTITY, and reads `1` as a day, not as a second, in a column of type `interval day`.
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

/** What a session is to its copies. */
interface Conversation extends Pick<Session, 'run'> {
  readonly raw: { query(query: object): void }
  /** Waits for the answer to what was sent past {@link run}. */
  answered<T>(sent: Promise<T>): Promise<T>
}

interface Answer {
  readonly rowCount: number
  readonly transactionId: string | null
}

export interface Copied {
  readonly result: Result
  /** Of the transaction that it ran in, where that was asked for. */
  readonly transactionId: string | null
}

export class PostgresCopies {
  readonly #session: Conversation
  /** By the call that they belong to. It is one transaction, in which nobody else alters a table that it has written to. */
  readonly #known = new WeakMap<InsertTarget, boolean>()
  /** Those that the server has taken a COPY into. */
  readonly #proven = new WeakSet<InsertTarget>()

  constructor(session: Conversation) {
    this.#session = session
  }

  /** Null when the rows must be inserted. `identifies`: whether it is to ask for the id of its transaction. */
  async run({ bindings, facts }: Statement, into: InsertTarget, identifies: boolean): Promise<Copied | null> {
    const width = into.columns.length
    const isFull = bindings.length >= rowsPerInsert(width) * width
    // For fewer rows the question whether their table takes a COPY would cost more than it gains.
    if (!(this.#known.get(into) ?? isFull)) return null
    const data = messagesOf(bindings, width)
    if (data === null || !(await this.#takesCopy(into))) return null
    const sql = `COPY ${into.table} (${into.columns.join(', ')}) FROM STDIN`
    const { raw } = this.#session
    const isProven = this.#proven.has(into)
    const { rowCount, transactionId } = await this.#session.answered(
      copy(raw, sql, data, identifies, isProven),
    )
    this.#proven.add(into)
    const response = { command: facts.verb, rowCount, rows: [], fields: [] }
    const result = { rows: [], rowCount, lastInsertId: null, command: facts.verb, forKnex: { response } }
    return { result, transactionId }
  }

  async #takesCopy(into: InsertTarget): Promise<boolean> {
    const known = this.#known.get(into)
    if (known !== undefined) return known
    const { rows } = await this.#session.run({ ...plainly(TAKES_COPY), bindings: [into.table, into.columns] })
    const { takes } = rows[0] as { takes: boolean }
    this.#known.set(into, takes)
    return takes
  }
}

/**
 * Rows as COPY reads them: https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.2. A value is the text that an
 * INSERT would bind. Null when one of them is bytes, which an INSERT binds as they are.
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
      messages.push(copyData(text))
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
  raw: Conversation['raw'],
  sql: string,
  data: readonly Buffer[],
  identifies: boolean,
  isProven: boolean,
): Promise<Answer> {
  const text = identifies ? `${sql}; SELECT txid_current()::text` : sql
  return new Promise((resolve, reject) => {
    raw.query(
      new CopyQuery(text, data, isProven, (error, answer) => {
        if (error === null) resolve(answer)
        else reject(error)
      }),
    )
  })
}

/** The part of pg's connection that is used here. */
interface Wire {
  readonly stream: { readonly writable: boolean; write(bytes: Buffer): void; cork(): void; uncork(): void }
  query(text: string): void
}

/** What pg's Client hands the server's answers to: https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY */
class CopyQuery {
  readonly #sql: string
  readonly #data: readonly Buffer[]
  /**
   * The data are sent along, since the program may read the next ones, and so not hear the server ask for these. It drops
   * them where it refuses the statement after all.
   */
  readonly #isAtOnce: boolean
  /** Under the name by which pg finds it, to put an end to its own `query_timeout`. */
  readonly callback: (error: Error | null, answer: Answer) => void
  #rowCount: number | null = null
  #transactionId: string | null = null

  constructor(sql: string, data: readonly Buffer[], isAtOnce: boolean, callback: CopyQuery['callback']) {
    this.#sql = sql
    this.#data = data
    this.#isAtOnce = isAtOnce
    this.callback = callback
  }

  submit(wire: Wire): null {
    const { stream } = wire
    stream.cork()
    wire.query(this.#sql)
    if (this.#isAtOnce) this.#send(wire)
    stream.uncork()
    return null
  }

  handleCopyInResponse(wire: Wire): void {
    if (!this.#isAtOnce) this.#send(wire)
  }

  #send({ stream }: Wire): void {
    if (!stream.writable) return
    stream.cork()
    for (const message of this.#data) stream.write(message)
    stream.write(COPY_DONE)
    stream.uncork()
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

  get #answer(): Answer {
    return { rowCount: this.#rowCount ?? 0, transactionId: this.#transactionId }
  }
}
