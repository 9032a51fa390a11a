/** Indices for the orders and filters of the lists, each ending in the id, which tells rows apart that are equal. */
import type { Knex } from 'knex'

export async function up(knex: Knex): Promise<void> {
  await knex.schema.alterTable('posts', (table) => {
    table.index(['title', 'id'], 'posts_title_id_index')
    // It finds the posts of an author as well as the index that it replaces, and in the order of their ids.
    table.index(['author_id', 'id'], 'posts_author_id_id_index')
    table.dropIndex(['author_id'], 'posts_author_id_index')
  })
  await knex.schema.alterTable('accounts', (table) => {
    table.index(['owner', 'id'], 'accounts_owner_id_index')
  })
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.alterTable('accounts', (table) => {
    table.dropIndex(['owner', 'id'], 'accounts_owner_id_index')
  })
  await knex.schema.alterTable('posts', (table) => {
    table.index(['author_id'], 'posts_author_id_index')
    table.dropIndex(['author_id', 'id'], 'posts_author_id_id_index')
    table.dropIndex(['title', 'id'], 'posts_title_id_index')
  })
}
