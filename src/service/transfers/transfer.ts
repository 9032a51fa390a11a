/** The transfer of money: it happens as a whole or not at all, and with a key at most once. */
import type { Database } from '../../database'
import { HttpProblem } from '../../express'
import { changeBalance, findAccount } from '../accounts/queries'
import { answerOnce } from '../idempotency'
import type { Tables } from '../tables'
import { type Movement, recordTransfer } from './queries'

/**
 * Moves money between two accounts in one transaction, and records it in the history. Retries after a deadlock or a
 * serialization failure. With a key it happens at most once: see `answerOnce`.
 *
 * @returns the message for the client
 * @throws HttpProblem 404 for an account that does not exist, 409 when the balances do not allow it, 422 for a key of
 *   another transfer; nothing has moved then
 */
export function transfer(database: Database<Tables>, movement: Movement, key?: string): Promise<string> {
  const { from, to, amount } = movement
  const changes = [
    { id: from, change: -amount },
    { id: to, change: amount },
  ]
  // Every transfer locks its rows in the order of ids, so that no two can deadlock.
  changes.sort((a, b) => a.id - b.id)
  const idempotentRequest = {
    key,
    request: ['POST /transfer', from, to, amount],
    done: 'Transfer successful',
  }
  return answerOnce(database, idempotentRequest, async () => {
    for (const { id, change } of changes) {
      if (!(await changeBalance(database, id, change))) throw await reasonAgainst(database, movement, change)
    }
    await recordTransfer(database, movement)
  })
}

async function reasonAgainst(
  database: Database<Tables>,
  { from, to, amount }: Movement,
  change: number,
): Promise<HttpProblem> {
  const payer = await findAccount(database, from)
  if (payer === null) return new HttpProblem(404, `Account ${from} not found`)
  if ((await findAccount(database, to)) === null) return new HttpProblem(404, `Account ${to} not found`)
  // The lower id is changed first, so a payer with the higher id is not checked yet. A payer without enough money is told
  // that first, and not how much more the payee could take.
  const isShort = change < 0 || (from > to && payer.balance < amount)
  return new HttpProblem(
    409,
    isShort ? 'Insufficient funds' : `The balance of account ${to} would become too large`,
  )
}
