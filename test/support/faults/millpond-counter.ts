/** Counts through millpond's Database, with its defaults. */
import { Database } from '../../../src/database'
import { type Counter, LOOK, type Sight, TABLES } from './counter'

export class MillpondCounter implements Counter {
  readonly #database: Database

  constructor(url: string) {
    this.#database = new Database(url)
  }

  async create(): Promise<void> {
    await this.open()
    for (const sql of TABLES) await this.#database.execute(sql)
    await this.close()
  }

  async open(): Promise<void> {
    await this.#database.connect()
  }

  async count(id: string): Promise<void> {
    await this.#database.transaction(async (tx) => {
      const counted = await tx.fetchVal<number>('select counted from counter where id = 1')
      await tx.execute('update counter set counted = :next where id = 1', { next: (counted ?? NaN) + 1 })
      await tx.execute('insert into entries (id) values (:id)', { id })
    })
  }

  async look(): Promise<Sight> {
    const sight = await this.#database.fetchOne<Sight>(LOOK)
    if (sight === null) throw new Error('The counter is gone')
    return sight
  }

  async close(): Promise<void> {
    await this.#database.disconnect()
  }
}
