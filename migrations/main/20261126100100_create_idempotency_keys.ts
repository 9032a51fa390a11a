/** Idempotency keys: what was asked under each, and how it was answered, for as long as clients may send it again. */
import type { Knex } from 'knex'

export async function up(knex: Knex): Promise<void> {
  await knex.schema.createTable('idempotency_keys', (table) => {
    table.text('key').notNullable()
    // A hash of what was asked: enough to tell another request from the same one.
    table.text('request').notNullable()
    table.integer('status').notNullable()
    table.text('detail').notNullable()
    table.timestamp('created_at').notNullable().defaultTo(knex.fn.now())
    table.primary(['key'], 'idempotency_keys_primary')
    table.index(['created_at'], 'idempotency_keys_created_at_index')
  })
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTable('idempotency_keys')
}
