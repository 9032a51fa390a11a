/** Plain Knex as the subject of a fault, set up and used as its documentation shows. */
import knex, { type Knex } from 'knex'
import { type Candidate, CONNECTIONS } from './subject'

const ignored = (): void => undefined

export const plainKnex: Candidate = {
  name: 'plain Knex',
  async open(connection, { acquireTimeoutMillis, callTimeoutMillis }) {
    const db = knex({
      client: 'pg',
      connection,
      pool: { min: 2, max: CONNECTIONS },
      acquireConnectionTimeout: acquireTimeoutMillis,
      // It would print a line for each attempt to connect that fails.
      log: { warn: ignored, error: ignored, deprecate: ignored, debug: ignored },
    })
    // Its limit is for one query, and begins when that has a connection.
    const limited = async <R>(query: Knex.QueryBuilder<object, R>): Promise<unknown> =>
      callTimeoutMillis === undefined ? query : query.timeout(callTimeoutMillis, { cancel: true })
    return {
      read: async (id) => limited(db('accounts').where({ id }).first('balance')),
      async write(id) {
        await limited(db('entries').insert({ id }))
      },
      async transfer(id, from, to) {
        await db.transaction(async (tx) => {
          await limited(tx('accounts').whereIn('id', [from, to]).orderBy('id').select('balance').forUpdate())
          await limited(tx('accounts').where({ id: from }).decrement('balance', 1))
          await limited(tx('accounts').where({ id: to }).increment('balance', 1))
          await limited(tx('entries').insert({ id }))
        })
      },
      async sleep(seconds) {
        await db.raw('select pg_sleep(?)', [seconds])
      },
      async close() {
        await db.destroy()
        return []
      },
    }
  },
}
