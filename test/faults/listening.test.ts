/** What listens to a PostgreSQL that is killed, restarted or frozen, hears again when it is back, and is told that it may have missed something. */
import { Database } from '../../src/database'
import { withAuditor } from '../support/faults/ledger'
import { rounds } from '../support/rounds'
import { waitFor } from '../support/wait-for'
import { describeFault } from './support'

const ROUNDS = rounds(3, 20)
const PATIENCE = { timeoutMillis: 20_000 }

describeFault('a PostgreSQL that goes away under those who listen', (server) => {
  let database: Database | undefined
  afterEach(() => database?.disconnect())

  it('is listened to again as soon as it is back, on every channel, and each caller is told once for each loss', async () => {
    database = new Database(server().url, { pool: { keepaliveMillis: 100 } })
    await database.connect()
    const told: string[] = []
    const heard: string[] = []
    for (const channel of ['a', 'b', 'b'])
      await database.listen(channel, (payload) => heard.push(`${channel} ${payload}`), {
        onReconnect: () => told.push(channel),
      })
    for (let round = 1; round <= ROUNDS; round += 1) {
      await server().kill()
      await server().start()
      await waitFor(() => told.length === 3 * round, PATIENCE)
      heard.length = 0
      await withAuditor(server().url, async (client) => {
        for (const channel of ['a', 'b'])
          await client.query('select pg_notify($1, $2)', [channel, String(round)])
      })
      await waitFor(() => heard.length === 3, PATIENCE)
      expect(heard.toSorted()).toEqual([`a ${round}`, `b ${round}`, `b ${round}`])
    }
    expect(told.toSorted()).toEqual(Array.from({ length: 3 * ROUNDS }, (_, n) => (n < ROUNDS ? 'a' : 'b')))
    const processes = "select from pg_stat_activity where query like 'LISTEN%'"
    expect(
      await withAuditor(server().url, async (client) => (await client.query(processes)).rows),
    ).toHaveLength(1)
  })

  it('is left at once by disconnect(), also while it is frozen', async () => {
    database = new Database(server().url, { pool: { keepaliveMillis: 50 } })
    await database.connect()
    await database.listen('a', () => undefined)
    await server().freeze()
    const started = performance.now()
    await database.disconnect({ graceMillis: 0 })
    expect(performance.now() - started).toBeLessThan(2000)
    await server().thaw()
  })
})
