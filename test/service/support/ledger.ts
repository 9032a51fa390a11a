/** What money must do: every balance is what the account was opened with, and what its transfers have brought and taken. */
import type { Queryable } from '../../../src/database'

/** The accounts of which that is not true. One statement, so that it sees one moment. */
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
