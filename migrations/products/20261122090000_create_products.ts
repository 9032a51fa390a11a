/** Products: what is for sale, at a price in minor units (cents). */
import type { Knex } from 'knex'

export async function up(knex: Knex): Promise<void> {
  await knex.schema.createTable('products', (table) => {
    table.increments('id')
    table.text('name').notNullable()
    table.text('description')
    table.bigInteger('price').notNullable()
    table.timestamp('created_at').notNullable().defaultTo(knex.fn.now())
    table.check('?? >= 0', ['price'], 'products_price_check')
  })
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTable('products')
}
