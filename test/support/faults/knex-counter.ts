/** Counts through plain Knex, with its defaults. */
import { fileURLToPath } from 'node:url'
import knex, { type Knex } from 'knex'
import { type Counter, LOOK, type Sight, TABLES } from './counter'

export class KnexCounter implements Counter {
  readonly #knex: Knex

  constructor(url: string) {
    const filename = fileURLToPath(url.replace(/^sqlite:/, 'file:'))
    this.#knex = knex({ client: 'sqlite3', useNullAsDefault: true, connection: { filename } })
  }

  async create(): Promise<void> {
    for (const sql of TABLES) await this.#knex.raw(sql)
    await this.close()
  }

  // Knex opens its connection when it is first asked for something.
  async open(): Promise<void> {}

  async count(id: string): Promise<void> {
    await this.#knex.transaction(async (trx) => {
      const counter = await trx<{ id: number; counted: number }>('counter').where({ id: 1 }).first()
      await trx('counter')
        .where({ id: 1 })
        .update({ counted: (counter?.counted ?? NaN) + 1 })
      await trx('entries').insert({ id })
    })
  }

  async look(): Promise<Sight> {
    const [sight] = await this.#knex.raw<Sight[]>(LOOK)
    if (sight === undefined) throw new Error('The counter is gone')
    return sight
  }

  async close(): Promise<void> {
    await this.#knex.destroy()
  }
}
