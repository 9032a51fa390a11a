/** Transfers: each movement of money, so that at any time a balance is what the account was opened with and its history. */
import type { Knex } from 'knex'

export async function up(knex: Knex): Promise<void> {
  // By hand: for a check on a new column, Knex would make the whole table anew on SQLite.
  await knex.raw(
    `ALTER TABLE accounts ADD COLUMN opening_balance bigint NOT NULL DEFAULT 0
     CONSTRAINT accounts_opening_balance_check CHECK (opening_balance >= 0)`,
  )
  await knex('accounts').update({ opening_balance: knex.ref('balance') })
  await knex.schema.createTable('transfers', (table) => {
    table.bigIncrements('id')
    table.integer('from_account').notNullable()
    table.integer('to_account').notNullable()
    table.bigInteger('amount').notNullable()
    table.timestamp('created_at').notNullable().defaultTo(knex.fn.now())
    table.foreign('from_account', 'transfers_from_account_foreign').references('accounts.id')
    table.foreign('to_account', 'transfers_to_account_foreign').references('accounts.id')
    table.check('?? > 0', ['amount'], 'transfers_amount_check')
    table.check('?? <> ??', ['from_account', 'to_account'], 'transfers_accounts_check')
    // With the id, so that a page of an account's history is read off the index.
    table.index(['from_account', 'id'], 'transfers_from_account_index')
    table.index(['to_account', 'id'], 'transfers_to_account_index')
  })
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTable('transfers')
  await knex.raw('ALTER TABLE accounts DROP COLUMN opening_balance')
}
