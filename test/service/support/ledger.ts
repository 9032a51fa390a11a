/** The rule of the ledger: each balance equals the opening balance and the sum of the account's transfers. */
import type { Queryable } from '../../../src/database'

/** The accounts that break it, by one statement, so that it sees one moment. */
export function unbalanced(database: Queryable): Promise<object[]> {
  return database.fetchAll(`
    SELECT id, balance, opening_balance + received - paid AS due
    FROM (
      SELECT id, balance, opening_balance,
        (SELECT coalesce(sum(amount), 0) FROM transfers WHERE to_account = accounts.id) AS received,
        (SELECT coalesce(sum(amount), 0) FROM transfers WHERE from_account = accounts.id) AS paid
      FROM accounts
    ) AS audited
    WHERE balance <> opening_balance + received - paid`)
}
