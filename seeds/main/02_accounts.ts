/** A few accounts with something to transfer, for a database that has none yet. */
import type { Knex } from 'knex'

/** Balances in minor units: 1250.00 is 125 000. */
const ACCOUNTS = [
  { owner: 'Ada', balance: 125_000 },
  { owner: 'Grace', balance: 80_000 },
  { owner: 'Edgar', balance: 42_050 },
  { owner: 'Barbara', balance: 0 },
]

export async function seed(knex: Knex): Promise<void> {
  if (await knex('accounts').first('id')) return
  await knex('accounts').insert(ACCOUNTS.map((account) => ({ ...account, opening_balance: account.balance })))
}
