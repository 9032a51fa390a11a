/** Users: who writes posts. */
import type { Knex } from 'knex'

export async function up(knex: Knex): Promise<void> {
  await knex.schema.createTable('users', (table) => {
    table.increments('id')
    // text, not varchar(n): SQLite would not hold the length, so that lengths belong to the service's schemas.
    table.text('username').notNullable()
    table.text('email').notNullable()
    table.timestamp('created_at').notNullable().defaultTo(knex.fn.now())
    table.unique(['username'], { indexName: 'users_username_unique' })
    table.unique(['email'], { indexName: 'users_email_unique' })
  })
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTable('users')
}
