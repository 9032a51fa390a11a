/** A transfer: all of it, or nothing, and with a key not more than once. */
import type { Queryable } from '../../database'
import { HttpProblem } from '../../express'
import { changeBalance, findAccount } from '../accounts/queries'
import { answerOnce } from '../idempotency'
import { type Movement, recordTransfer } from './queries'

/**
 * Moves money between two accounts in one transaction, and writes it into the history. A deadlock or a serialization
 * failure with other work on the same accounts is tried again. With a key it happens at most once: see `answerOnce`.
 *
 * @returns what the client is told
 * @throws HttpProblem 404 for an account that does not exist, 409 when the balances do not allow it; nothing has
 *   moved then. 422 for a key of another transfer
 */
export function transfer(database: Queryable, movement: Movement, key?: string): Promise<string> {
  const { from, to, amount } = movement
  const changes = [
    { id: from, change: -amount },
    { id: to, change: amount },
  ]
  // Every transfer locks its rows in the same order, so that no two can wait for each other in a circle.
  changes.sort((a, b) => a.id - b.id)
  const asked = { key, request: ['POST /transfer', from, to, amount], done: 'Transfer successful' }
  return answerOnce(database, asked, async (tx) => {
    for (const { id, change } of changes) {
      if (!(await changeBalance(tx, id, change))) throw await reasonAgainst(tx, movement, change)
    }
    await recordTransfer(tx, movement)
  })
}

async function reasonAgainst(
  database: Queryable,
  { from, to, amount }: Movement,
  change: number,
): Promise<HttpProblem> {
  const payer = await findAccount(database, from)
  if (payer === null) return new HttpProblem(404, `Account ${from} not found`)
  if ((await findAccount(database, to)) === null) return new HttpProblem(404, `Account ${to} not found`)
  // The lower id is changed first, so a payer with the higher one has not been asked yet. Who has not got the money is
  // told that, and not how much more the payee could take.
  const isShort = change < 0 || (from > to && payer.balance < amount)
  return new HttpProblem(
    409,
    isShort ? 'Insufficient funds' : `The balance of account ${to} would become too large`,
  )
}
