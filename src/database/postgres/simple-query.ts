/** Runs statements without the extended protocol: those that control transactions, and those that only pg's own query takes. */
import type pg from 'pg'
import { QueryError } from '../errors'
import type { Result, Statement, StatementFacts } from '../driver/statement'
import { toParameter } from './parameters'
import type { PgConnection, QueryObject, RawConnection } from './pg-client'
import { IDENTITY_PARSER, TYPE_PARSERS } from './value-parsers'

const NO_FACTS: StatementFacts = {
  verb: '',
  laterVerbs: [],
  isMultiStatement: false,
  isRead: false,
  hasReturning: false,
  isRepeatable: false,
  changesSession: false,
}

/** Makes a statement that this folder sends by itself. */
export function ownStatement(
  sql: string,
  bindings: readonly unknown[] = [],
  facts: Partial<StatementFacts> = {},
): Statement {
  return { sql, bindings, facts: { ...NO_FACTS, ...facts }, take: 'all' }
}

/** Makes the result of a control statement. */
export function controlResult(command: string): Result {
  const response = { command, rowCount: null, rows: [], fields: [] }
  return { rows: [], rowCount: 0, lastInsertId: null, command, forKnex: { response } }
}

/** Statements that open or end a transaction or savepoint. They have no rows and no values. */
const CONTROL_VERBS = new Set(['BEGIN', 'COMMIT', 'ROLLBACK', 'SAVEPOINT', 'RELEASE'])

export function isControl({ facts, bindings }: Statement): boolean {
  return CONTROL_VERBS.has(facts.verb) && !facts.isMultiStatement && bindings.length === 0
}

/** Runs a control statement. On an error it calls `failed` before pg sends the next query of its queue. */
export function sendControl(raw: RawConnection, sql: string, failed?: () => void): Promise<Result> {
  return new Promise((resolve, reject) => {
    raw.query(
      new ControlQuery(sql, (error, command) => {
        if (error === null) {
          resolve(controlResult(command))
          return
        }
        failed?.()
        reject(error)
      }),
    )
  })
}

/**
 * A query object for the simple protocol: https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SIMPLE-QUERY. It
 * does less than pg's own query, and every transaction ends by one.
 */
class ControlQuery implements QueryObject {
  readonly text: string
  readonly name = null
  /** pg looks for this name, to end its own `query_timeout`. */
  readonly callback: (error: Error | null, command: string) => void
  #command = ''

  constructor(text: string, callback: ControlQuery['callback']) {
    this.text = text
    this.callback = callback
  }

  submit(connection: PgConnection): null {
    connection.query(this.text)
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

/**
 * Returns whether pg's own query has to run it: several statements in one text, a statement with options of pg, and COPY, at
 * which the extended protocol would wait for ever for rows.
 */
export function needsPgQuery({ facts, driverOptions }: Statement): boolean {
  return facts.isMultiStatement || facts.verb === 'COPY' || driverOptions !== undefined
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

/**
 * Runs a statement by pg's own query; several in one text give several results. Values stay unparsed texts unless the caller
 * gave parsers. Rejects with a QueryError for a COPY from STDIN, whose rows would never come, or to STDOUT, whose rows pg
 * would drop.
 */
export function sendPgQuery(
  raw: RawConnection,
  { sql, bindings, facts, asArrays, driverOptions }: Statement,
): Promise<pg.QueryResult[]> {
  return new Promise((resolve, reject) => {
    if (facts.verb === 'COPY' && COPIES_STREAM.test(sql)) {
      throw new QueryError(
        'COPY from STDIN or to STDOUT needs a stream. Use executeMany() or iterate(), or a stream of pg-copy-streams on connection.raw.',
        sql,
      )
    }
    const config = {
      types: UNPARSED,
      ...driverOptions,
      text: sql,
      values: bindings.map(toParameter),
      ...(asArrays === true && { rowMode: 'array' }),
    }
    raw.query(config, (error: Error | null, result: pg.QueryResult | pg.QueryResult[]) => {
      if (error === null) resolve([result].flat())
      else reject(error)
    })
  })
}

const COPIES_STREAM = /\b(?:from\s+stdin|to\s+stdout)\b/i

/** Commands whose tag counts the rows that they changed; the tag of SELECT counts the rows that it read. */
const CHANGES = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE', 'COPY'])

/** Returns the rows that a command changed. `count`: the number in its tag. */
export function changedRows(command: string, count: number | null): number {
  return CHANGES.has(command) ? (count ?? 0) : 0
}

/** Makes one result of several: the last one counts, as in psql. */
export function lastResult(results: readonly pg.QueryResult[]): Result {
  const last = results.at(-1)
  const command = last?.command ?? ''
  return {
    rows: last?.rows ?? [],
    rowCount: changedRows(command, last?.rowCount ?? 0),
    lastInsertId: null,
    command,
    forKnex: { response: results.length > 1 ? results : last },
  }
}
