/** Two ways to ask PostgreSQL that pg's own Query does not have. */
import pg from 'pg'

/** The part of pg's wire protocol that is used here: https://www.postgresql.org/docs/current/protocol-flow.html */
interface Wire {
  parse(message: { text: string; name: string }): void
  bind(message: { portal: string; statement: string; values: unknown[] }): void
  describe(message: { type: 'P'; name: string }): void
  execute(message: { portal: string; rows: number }): void
  sync(): void
}

/** Stops after the first row: the server makes no more of them, and no second round trip is needed. */
export class FirstRowQuery extends pg.Query {
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
export class IdentifiedQuery extends pg.Query {
  _getRows(wire: Wire): void {
    wire.execute({ portal: '', rows: 0 })
    wire.parse({ text: 'SELECT txid_current()::text', name: '' })
    wire.bind({ portal: '', statement: '', values: [] })
    wire.describe({ type: 'P', name: '' })
    wire.execute({ portal: '', rows: 0 })
    wire.sync()
  }
}
