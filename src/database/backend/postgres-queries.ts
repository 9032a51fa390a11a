/** How PostgreSQL is asked without preparing anything, and two ways to do it that pg's own Query does not have. */
import pg from 'pg'
import type { Statement } from './dialect'

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
  return CONTROL.has(facts.verb) && !facts.isSeveral && bindings.length === 0
}

/** Runs such a statement, and resolves to what the server says that it did. */
export function control(raw: Pick<pg.Client, 'query'>, sql: string): Promise<string> {
  return new Promise((resolve, reject) => {
    raw.query(
      new ControlQuery(sql, (error, command) => {
        if (error === null) resolve(command)
        else reject(error)
      }),
    )
  })
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

/** Runs a statement. Several in one text give several results. */
export function ask(
  raw: Pick<pg.Client, 'query'>,
  statement: Statement,
  identifies: boolean,
): Promise<pg.QueryResult | pg.QueryResult[]> {
  const config = {
    ...statement.driverOptions,
    text: statement.sql,
    values: [...statement.bindings],
    ...(statement.asArrays === true && { rowMode: 'array' }),
  }
  // The simple protocol, which pg chooses for a statement without values, knows neither limits nor company.
  const extended = { ...config, queryMode: 'extended' }
  const { isRead, isSeveral } = statement.facts
  const takesFirst = statement.take === 'first' && isRead && !isSeveral
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

/** The one value of a result, whether its rows are objects or arrays. */
export function textOf(result: pg.QueryResult | undefined): string | null {
  const row = result?.rows[0] as object | undefined
  return row === undefined ? null : String(Object.values(row)[0])
}
