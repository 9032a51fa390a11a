/** Posts: each by one user, and gone with that user. */
import type { Knex } from 'knex'

export async function up(knex: Knex): Promise<void> {
  await knex.schema.createTable('posts', (table) => {
    table.increments('id')
    table.text('title').notNullable()
    table.text('content').notNullable()
    table.integer('author_id').notNullable()
    table.timestamp('created_at').notNullable().defaultTo(knex.fn.now())
    table.foreign('author_id', 'posts_author_id_foreign').references('users.id').onDelete('CASCADE')
    table.index(['author_id'], 'posts_author_id_index')
  })
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTable('posts')
}
