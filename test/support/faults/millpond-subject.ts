/** millpond as the subject of a fault. */
import { Database, runInScope } from '../../../src/database'
import { type Candidate, CONNECTIONS } from './subject'

export const millpond: Candidate = {
  name: 'millpond',
  async open(url, { acquireTimeoutMillis, callTimeoutMillis }) {
    const size = CONNECTIONS / 2
    const database = new Database(url, {
      pool: { size, maxOverflow: CONNECTIONS - size, acquireTimeoutMillis },
      connectTimeoutMillis: acquireTimeoutMillis,
    })
    const limits = callTimeoutMillis === undefined ? {} : { timeoutMillis: callTimeoutMillis }
    await database.connect()
    return {
      read: (account) =>
        database.fetchVal('select balance from accounts where id = :account', { account }, limits),
      async write(id) {
        await database.execute('insert into entries (id) values (:id)', { id }, limits)
      },
      transfer: (id, from, to) =>
        database.transaction(async (tx) => {
          await tx.fetchAll('select balance from accounts where id in (:ids) order by id for update', {
            ids: [from, to],
          })
          await tx.execute('update accounts set balance = balance - 1 where id = :from', { from })
          await tx.execute('update accounts set balance = balance + 1 where id = :to', { to })
          await tx.execute('insert into entries (id) values (:id)', { id })
        }, limits),
      sleep: (seconds, label) =>
        runInScope({ label }, async () => {
          await database.fetchVal('select pg_sleep(:seconds)', { seconds })
        }),
      async close(graceMillis = 1000) {
        const cutOff: string[] = []
        database.on('cleanup', ({ label }) => cutOff.push(label ?? '(no label)'))
        await database.disconnect({ graceMillis })
        return cutOff
      },
    }
  },
}
