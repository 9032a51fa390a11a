/** Looks up whether a transaction of another session was committed. */
import type { Outcome, Session } from '../driver/session'
import { ownStatement } from './own-statement'

/** Asks the server by the id of the transaction: https://www.postgresql.org/docs/current/functions-info.html */
export async function outcomeOf(session: Pick<Session, 'run'>, transactionId: string): Promise<Outcome> {
  const sql = 'SELECT txid_status($1::bigint) AS status'
  const { rows } = await session.run({ ...ownStatement(sql), bindings: [transactionId] })
  switch ((rows[0] as { status: string | null } | undefined)?.status) {
    case 'committed':
      return 'committed'
    case 'aborted':
      return 'rolled back'
    case 'in progress':
      return 'open'
    default:
      // The server no longer keeps the status of so old a transaction.
      return 'unknown'
  }
}
