/** Runs statements on PostgreSQL without preparing them, by pg's Query and by query objects of our own. */
import pg from 'pg'
import { QueryError } from '../errors'
import type { Result, Statement } from '../driver/statement'
import { IDENTITY_PARSER, TYPE_PARSERS } from './value-parsers'
import { toParameter } from './protocol'

/** The part of pg's Connection that is used here: https://www.postgresql.org/docs/current/protocol-flow.html */
interface QueryConnection {
  parse(message: { text: string; name: string }): void
  bind(message: { portal: string; statement: string; values: unknown[] }): void
  describe(message: { type: 'P'; name: string }): void
  execute(message: { portal: string; rows: number }): void
  sync(): void
}

/** Asks for the first row only, in one round trip. */
class FirstRowQuery extends pg.Query {
  _getRows(connection: QueryConnection): void {
    connection.execute({ portal: '', rows: 1 })
    // Sync also closes the portal, so that the server makes no further rows.
    connection.sync()
  }

  /** pg's own method would ask for more rows, but the sync is sent already. */
  handlePortalSuspended(): void {}
}

/**
 * Also asks for the id of the transaction, as a second result in the same round trip. If the connection is lost while the
 * transaction commits, its outcome can be looked up by that id.
 */
class IdentifiedQuery extends pg.Query {
  _getRows(connection: QueryConnection): void {
    connection.execute({ portal: '', rows: 0 })
    connection.parse({ text: 'SELECT txid_current()::text', name: '' })
    connection.bind({ portal: '', statement: '', values: [] })
    connection.describe({ type: 'P', name: '' })
    connection.execute({ portal: '', rows: 0 })
    connection.sync()
  }
}

/** Statements that open or end a transaction or savepoint. They have no rows and no values, so a simpler query object will do. */
const CONTROL_VERBS = new Set(['BEGIN', 'COMMIT', 'ROLLBACK', 'SAVEPOINT', 'RELEASE'])

export function isControl({ facts, bindings }: Statement): boolean {
  return CONTROL_VERBS.has(facts.verb) && !facts.isMultiStatement && bindings.length === 0
}

/** Runs a control statement. On an error it calls `failed` before pg sends the next query of its queue. */
export function sendControl(
  raw: Pick<pg.Client, 'query'>,
  sql: string,
  failed: () => void = () => undefined,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    raw.query(
      new ControlQuery(sql, (error, command) => {
        if (error === null) {
          resolve(controlResult(command))
          return
        }
        failed()
        reject(error)
      }),
    )
  })
}

/** Makes the result of a control statement. */
export function controlResult(command: string): Result {
  const response = { command, rowCount: null, rows: [], fields: [] }
  return { rows: [], rowCount: 0, lastInsertId: null, command, forKnex: { response } }
}

/** A query object for the simple protocol: https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SIMPLE-QUERY */
class ControlQuery {
  readonly #sql: string
  /** pg looks for this name, to end its own `query_timeout`. */
  readonly callback: (error: Error | null, command: string) => void
  #command = ''

  constructor(sql: string, callback: ControlQuery['callback']) {
    this.#sql = sql
    this.callback = callback
  }

  submit(connection: { query(text: string): void }): null {
    connection.query(this.#sql)
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

/** Returns whether the caller gave parsers by Knex's `.options({ types })`. */
export function hasOwnParsers({ driverOptions = {} }: Statement): boolean {
  return 'types' in driverOptions
}

/** Parsers that leave texts unparsed: the session parses them after it has looked up unknown types. */
const UNPARSED = {
  getTypeParser: (oid: number, format?: 'text' | 'binary') =>
    format === 'binary' ? TYPE_PARSERS.getTypeParser(oid, format) : IDENTITY_PARSER,
}

/** Runs a statement; several in one text give several results. Values stay unparsed texts unless the caller gave parsers. */
export function sendQuery(
  raw: Pick<pg.Client, 'query'>,
  statement: Statement,
  asksTransactionId: boolean,
): Promise<pg.QueryResult | pg.QueryResult[]> {
  const config = {
    types: UNPARSED,
    ...statement.driverOptions,
    text: statement.sql,
    values: statement.bindings.map(toParameter),
    ...(statement.asArrays === true && { rowMode: 'array' }),
  }
  // For a statement without values pg would use the simple protocol, which has no row limit and no second statement.
  const extended = { ...config, queryMode: 'extended' }
  const { isRead, isMultiStatement } = statement.facts
  const takesFirst = statement.take === 'first' && isRead && !isMultiStatement
  return new Promise((resolve, reject) => {
    const callback = (error: Error | null, result: pg.QueryResult): void => {
      if (error) reject(error)
      else resolve(result)
    }
    if (takesFirst) raw.query(new FirstRowQuery(extended, callback))
    else if (asksTransactionId) raw.query(new IdentifiedQuery(extended, callback))
    else raw.query(config, callback)
  })
}

/** Commands whose tag counts the rows that they changed; the tag of SELECT counts the rows that it read. */
const CHANGES = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE', 'COPY'])

/** Makes a result of what {@link sendQuery} resolved to. */
export function toAnswer(
  native: pg.QueryResult | pg.QueryResult[],
  asksTransactionId: boolean,
): { readonly result: Result; readonly transactionId: string | null } {
  // Several statements in one text give several results; the last one counts, as in psql.
  const results = Array.isArray(native) ? native : [native]
  const transactionId = asksTransactionId ? onlyValueOf(results.pop()) : null
  const last = results.at(-1)
  const command = last?.command ?? ''
  const result = {
    rows: last?.rows ?? [],
    rowCount: CHANGES.has(command) ? (last?.rowCount ?? 0) : 0,
    lastInsertId: null,
    command,
    forKnex: { response: asksTransactionId ? last : native },
  }
  return { result, transactionId }
}

const COPIES_STREAM = /\b(?:from\s+stdin|to\s+stdout)\b/i

/** @throws QueryError for a COPY from STDIN, whose rows would never come, or to STDOUT, whose rows pg would drop */
export function refuseStream({ facts, sql }: Statement): void {
  if (facts.verb !== 'COPY' || !COPIES_STREAM.test(sql)) return
  throw new QueryError(
    'COPY from STDIN or to STDOUT needs a stream. Use executeMany() or iterate(), or a stream of pg-copy-streams on connection.raw.',
    sql,
  )
}

/** Returns the one value of a result, whether its rows are objects or arrays. */
function onlyValueOf(result: pg.QueryResult | undefined): string | null {
  const row = result?.rows[0] as object | undefined
  return row === undefined ? null : String(Object.values(row)[0])
}
