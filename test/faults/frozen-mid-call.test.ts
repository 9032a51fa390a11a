/** PostgreSQL freezes during the end of a call: a stream that is left early, a rollback, a validation. */
import { ConnectionError, Database, type DatabaseOptions, runInScope } from '../../src/database'
import { failure } from '../database/support'
import { waitFor } from '../support/wait-for'
import { describeFault, report } from './support'

describeFault('a call without an answer of PostgreSQL', (server) => {
  const databases: Database[] = []
  const open = async (options?: DatabaseOptions): Promise<Database> => {
    const database = new Database(server().url, options)
    databases.push(database)
    await database.connect()
    return database
  }
  afterEach(async () => {
    await server().thaw()
    for (const database of databases.splice(0)) await database.disconnect({ graceMillis: 0 })
  })

  const rows = 'select n from generate_series(1, 100000) as n'

  /** Resolves to how long `work` takes; fails when it does not end. */
  const millisOf = async (work: () => Promise<unknown>): Promise<number> => {
    const started = performance.now()
    let isOver = false
    const over = (): void => {
      isOver = true
    }
    work().then(over, over)
    await waitFor(() => isOver, { what: 'the call to end', timeoutMillis: 4000 })
    return performance.now() - started
  }

  /** Reads the first row, freezes the server, and leaves the loop. */
  const leaveEarly = async (stream: AsyncIterable<unknown>): Promise<void> => {
    for await (const _ of stream) {
      await server().freeze()
      break
    }
  }

  it('ends by the deadline of a stream that is left early', async () => {
    const database = await open()
    const millis = await millisOf(() => leaveEarly(database.iterate(rows, {}, { timeoutMillis: 500 })))
    report('a stream left early', { millis })
    expect(millis).toBeLessThan(2000)
  })

  it('ends by the deadline of the transaction whose stream is left early', async () => {
    const database = await open()
    const millis = await millisOf(() =>
      database.transaction((tx) => leaveEarly(tx.iterate(rows)), { timeoutMillis: 500 }),
    )
    report('a stream left early in a transaction', { millis })
    expect(millis).toBeLessThan(2000)
  })

  it('ends when it is a disconnect() that has to roll back', async () => {
    const database = await open({ forceRollback: true })
    expect(await database.fetchVal('select 1')).toBe(1)
    await server().freeze()
    const millis = await millisOf(() => database.disconnect({ graceMillis: 0 }))
    report('disconnect() with a test to roll back', { millis })
    expect(millis).toBeLessThan(2000)
  })

  it("fails with the server's failure, not a full pool, while idle connections are validated", async () => {
    const pool = { min: 2, size: 2, maxOverflow: 0, acquireTimeoutMillis: 150, validateAfterIdleMillis: 0 }
    const database = await open({ pool })
    await waitFor(() => database.stats().idle === 2, { what: 'two idle connections' })
    await server().freeze()
    for (let call = 0; call < 6; call += 1) {
      const error = await failure(runInScope({ label: `call ${call}` }, () => database.fetchVal('select 1')))
      expect(error).toBeInstanceOf(ConnectionError)
      expect(error.message).not.toMatch(/turn to write/)
    }
  })
})
