/** Accounts: a balance in minor units (cents), which the database keeps from going below zero. */
import type { Knex } from 'knex'

export async function up(knex: Knex): Promise<void> {
  await knex.schema.createTable('accounts', (table) => {
    table.increments('id')
    table.text('owner').notNullable()
    table.bigInteger('balance').notNullable().defaultTo(0)
    table.timestamp('created_at').notNullable().defaultTo(knex.fn.now())
    table.check('?? >= 0', ['balance'], 'accounts_balance_check')
  })
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTable('accounts')
}
