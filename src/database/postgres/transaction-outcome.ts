/** What became of a transaction of another session. */
import type { Outcome, Session } from '../driver/session'
import { plainly } from './own-statement'

/** Asks the server, by the id of the transaction: https://www.postgresql.org/docs/current/functions-info.html */
export async function outcomeOf(session: Pick<Session, 'run'>, transactionId: string): Promise<Outcome> {
  const sql = 'SELECT txid_status($1::bigint) AS status'
  const { rows } = await session.run({ ...plainly(sql), bindings: [transactionId] })
  switch ((rows[0] as { status: string | null } | undefined)?.status) {
    case 'committed':
      return 'committed'
    case 'aborted':
      return 'rolled back'
    case 'in progress':
      return 'open'
    default:
      // Too long ago for the server to remember.
      return 'unknown'
  }
}
