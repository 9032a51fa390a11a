/** How PostgreSQL is asked without preparing anything, and two ways to do it that pg's own Query does not have. */
import pg from 'pg'
import { QueryError } from '../errors'
import type { Result, Statement } from '../driver/statement'
import { AS_IT_IS, TYPES } from './value-parsers'
import { toParameter } from './protocol'

/** The part of pg's wire protocol that is used here: https://www.postgresql.org/docs/current/protocol-flow.html */
interface Wire {
  parse(message: { text: string; name: string }): void
  bind(message: { portal: string; statement: string; values: unknown[] }): void
  describe(message: { type: 'P'; name: string }): void
  execute(message: { portal: string; rows: number }): void
  sync(): void
}

/** Stops after the first row: the server makes no more of them, and no second round trip is needed. */
class FirstRowQuery extends pg.Query {
  _getRows(wire: Wire): void {
    wire.execute({ portal: '', rows: 1 })
    // Ends the portal as well: what is left of its rows is never asked for.
    wire.sync()
  }

  /** pg's own would ask for more rows; the sync that was sent along is the answer. */
  handlePortalSuspended(): void {}
}

/**
 * Asks for the id of the transaction in the same breath, as a second result. Should the connection be lost while it
 * commits, the server can be asked by that id what became of it.
 */
class IdentifiedQuery extends pg.Query {
  _getRows(wire: Wire): void {
    wire.execute({ portal: '', rows: 0 })
    wire.parse({ text: 'SELECT txid_current()::text', name: '' })
    wire.bind({ portal: '', statement: '', values: [] })
    wire.describe({ type: 'P', name: '' })
    wire.execute({ portal: '', rows: 0 })
    wire.sync()
  }
}

/** Statements that open or end a transaction: most of a short one's time, and without rows or values. */
const CONTROL = new Set(['BEGIN', 'COMMIT', 'ROLLBACK', 'SAVEPOINT', 'RELEASE'])

export function isControl({ facts, bindings }: Statement): boolean {
  return CONTROL.has(facts.verb) && !facts.isMultiStatement && bindings.length === 0
}

/** Runs such a statement. `failed` is called before anything is sent that waits behind it. */
export function control(
  raw: Pick<pg.Client, 'query'>,
  sql: string,
  failed: () => void = () => undefined,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    raw.query(
      new ControlQuery(sql, (error, command) => {
        if (error === null) {
          resolve(controlled(command))
          return
        }
        failed()
        reject(error)
      }),
    )
  })
}

/** What came of such a statement. */
export function controlled(command: string): Result {
  const response = { command, rowCount: null, rows: [], fields: [] }
  return { rows: [], rowCount: 0, lastInsertId: null, command, forKnex: { response } }
}

/** The simple protocol, with nothing around it: https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SIMPLE-QUERY */
class ControlQuery {
  readonly #sql: string
  /** Under the name by which pg finds it, to put an end to its own `query_timeout`. */
  readonly callback: (error: Error | null, command: string) => void
  #command = ''

  constructor(sql: string, callback: ControlQuery['callback']) {
    this.#sql = sql
    this.callback = callback
  }

  submit(wire: { query(text: string): void }): null {
    wire.query(this.#sql)
    return null
  }

  handleCommandComplete({ text }: { readonly text: string }): void {
    this.#command = text
  }

  handleError(error: Error): void {
    this.callback(error, '')
  }

  handleReadyForQuery(): void {
    this.callback(null, this.#command)
  }
}

/** Knex's `.options({ types })`. */
export function hasTypes({ driverOptions = {} }: Statement): boolean {
  return 'types' in driverOptions
}

/** Leaves texts as they are: they are read when all have come. */
const TEXTS = {
  getTypeParser: (oid: number, format?: 'text' | 'binary') =>
    format === 'binary' ? TYPES.getTypeParser(oid, format) : AS_IT_IS,
}

/** Runs a statement. Several in one text give several results. Values are texts, unless it has parsers of its own. */
export function ask(
  raw: Pick<pg.Client, 'query'>,
  statement: Statement,
  identifies: boolean,
): Promise<pg.QueryResult | pg.QueryResult[]> {
  const config = {
    types: TEXTS,
    ...statement.driverOptions,
    text: statement.sql,
    values: statement.bindings.map(toParameter),
    ...(statement.asArrays === true && { rowMode: 'array' }),
  }
  // The simple protocol, which pg chooses for a statement without values, knows neither limits nor company.
  const extended = { ...config, queryMode: 'extended' }
  const { isRead, isMultiStatement } = statement.facts
  const takesFirst = statement.take === 'first' && isRead && !isMultiStatement
  return new Promise((resolve, reject) => {
    const callback = (error: Error | null, result: pg.QueryResult): void => {
      if (error) reject(error)
      else resolve(result)
    }
    if (takesFirst) raw.query(new FirstRowQuery(extended, callback))
    else if (identifies) raw.query(new IdentifiedQuery(extended, callback))
    else raw.query(config, callback)
  })
}

/** Commands whose tag counts rows that they changed; that of SELECT counts rows that it read. */
const CHANGES = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE', 'COPY'])

/** What {@link ask} was answered. */
export function answered(
  native: pg.QueryResult | pg.QueryResult[],
  identifies: boolean,
): { readonly result: Result; readonly transactionId: string | null } {
  // Several statements in one text give several results; the last one counts, as in psql.
  const results = Array.isArray(native) ? native : [native]
  const transactionId = identifies ? textOf(results.pop()) : null
  const last = results.at(-1)
  const command = last?.command ?? ''
  const result = {
    rows: last?.rows ?? [],
    rowCount: CHANGES.has(command) ? (last?.rowCount ?? 0) : 0,
    lastInsertId: null,
    command,
    forKnex: { response: identifies ? last : native },
  }
  return { result, transactionId }
}

const COPIES_STREAM = /\b(?:from\s+stdin|to\s+stdout)\b/i

/** @throws QueryError for a COPY that pg would wait with for rows that nobody sends, or whose rows it would throw away */
export function refuseStream({ facts, sql }: Statement): void {
  if (facts.verb !== 'COPY' || !COPIES_STREAM.test(sql)) return
  throw new QueryError(
    'COPY from STDIN or to STDOUT needs a stream. Use executeMany() or iterate(), or a stream of pg-copy-streams on connection.raw.',
    sql,
  )
}

/** The one value of a result, whether its rows are objects or arrays. */
function textOf(result: pg.QueryResult | undefined): string | null {
  const row = result?.rows[0] as object | undefined
  return row === undefined ? null : String(Object.values(row)[0])
}
