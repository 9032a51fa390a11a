/** A transfer: all of it, or nothing. */
import type { Queryable } from '../../database'
import { HttpProblem } from '../../express'
import { changeBalance, findAccount } from './queries'

export interface Transfer {
  readonly from: number
  readonly to: number
  readonly amount: number
}

/**
 * Moves money between two accounts in one transaction. A deadlock or a serialization failure with other work on the
 * same accounts is tried again.
 *
 * @throws HttpProblem 404 for an account that does not exist, 409 when the balances do not allow it; nothing has
 *   moved then
 */
export async function transfer(database: Queryable, { from, to, amount }: Transfer): Promise<void> {
  const changes = [
    { id: from, change: -amount },
    { id: to, change: amount },
  ]
  // Every transfer locks its rows in the same order, so that no two can wait for each other in a circle.
  changes.sort((a, b) => a.id - b.id)
  await database.transaction(
    async (tx) => {
      for (const { id, change } of changes) {
        if (!(await changeBalance(tx, id, change)))
          throw await reasonAgainst(tx, { from, to, amount }, change)
      }
    },
    { retries: 3 },
  )
}

async function reasonAgainst(
  database: Queryable,
  { from, to, amount }: Transfer,
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
