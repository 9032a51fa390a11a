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
        if (!(await changeBalance(tx, id, change))) throw await reasonAgainst(tx, { from, to }, change)
      }
    },
    { retries: 3 },
  )
}

async function reasonAgainst(
  database: Queryable,
  { from, to }: Omit<Transfer, 'amount'>,
  change: number,
): Promise<HttpProblem> {
  for (const id of [from, to]) {
    if ((await findAccount(database, id)) === null) return new HttpProblem(404, `Account ${id} not found`)
  }
  return new HttpProblem(
    409,
    change < 0 ? 'Insufficient funds' : `The balance of account ${to} would become too large`,
  )
}
