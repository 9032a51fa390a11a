/** Indices for the orders of the list of products, each ending in the id, which tells rows apart that are equal. */
import type { Knex } from 'knex'

export async function up(knex: Knex): Promise<void> {
  await knex.schema.alterTable('products', (table) => {
    table.index(['name', 'id'], 'products_name_id_index')
    table.index(['price', 'id'], 'products_price_id_index')
  })
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.alterTable('products', (table) => {
    table.dropIndex(['price', 'id'], 'products_price_id_index')
    table.dropIndex(['name', 'id'], 'products_name_id_index')
  })
}
