/** afterConnect: a callback that prepares each connection, and may hang, fail or leave a transaction open. */
import type { Client } from 'pg'
import type { Connection, Database } from '../../../src/database'
import { failure } from '../support'
import { eachDatabase } from '../../support/each-database'
import { waitFor } from '../../support/wait-for'

eachDatabase('afterConnect', (context) => {
  const never = (): Promise<never> => new Promise(() => undefined)

  /** Resolves to the milliseconds until `work` has settled; fails when it does not settle within `timeoutMillis`. */
  const ended = async (work: Promise<unknown>, timeoutMillis = 3000): Promise<number> => {
    const started = performance.now()
    let isOver = false
    const over = (): void => {
      isOver = true
    }
    work.then(over, over)
    await waitFor(() => isOver, { what: 'it to end', timeoutMillis })
    return performance.now() - started
  }

  const single = { size: 1, maxOverflow: 0 }

  it('that hangs has its connection closed, and the error says so', async () => {
    let hangs = false
    let opened = 0
    const database = await context.open({
      connectTimeoutMillis: 1000,
      pool: { size: 1, maxOverflow: 1, acquireTimeoutMillis: 1000 },
      afterConnect: () => {
        opened += 1
        return hangs ? never() : Promise.resolve()
      },
    })
    hangs = true
    const held = await database.acquire()
    const messages: string[] = []
    await waitFor(
      async () => {
        messages.push((await failure(database.fetchVal('select 1'))).message)
        return messages.at(-1)?.includes('afterConnect did not end in time')
      },
      { what: 'the reason', timeoutMillis: 10_000 },
    )
    hangs = false
    await waitFor(async () => (await database.fetchVal('select 1')) === 1, {
      what: 'a connection to be free',
    })
    expect(opened).toBeGreaterThan(2)
    await held.release()
  })

  it("that leaves a transaction open does not include the first caller's statements in it", async () => {
    const database = await context.open()
    const told: string[] = []
    const careless = context.track(
      new (database.constructor as typeof Database)(context.url, {
        afterConnect: async (connection) => void (await connection.execute('begin')),
      }),
    )
    careless.on('cleanup', ({ what }) => told.push(what))
    await careless.connect()
    await careless.execute('create table kept (id integer)')
    expect(await database.fetchAll('select * from kept')).toEqual([])
    expect(told[0]).toContain('afterConnect')
    await database.execute('drop table kept')
  })

  const change =
    context.dialect === 'sqlite' ? 'PRAGMA recursive_triggers = ON' : 'set search_path to elsewhere'

  it('can run a builder on its connection when it runs again', async () => {
    const answers: unknown[] = []
    let runs = 0
    const other: Database = await context.open({
      pool: single,
      afterConnect: async (connection) => {
        runs += 1
        // If it read `raw` in its first run, the connection would be closed instead.
        if (runs === 1) return
        const one = other.knex.select(other.knex.raw('1 as n'))
        answers.push(await one.connection(connection.raw))
      },
    })
    await other.connection((connection) => connection.execute(change))
    await other.fetchVal('select 1')
    expect(answers).toEqual([[{ n: 1 }]])
    expect(runs).toBe(2)
  })

  if (context.dialect === 'sqlite') return

  it('that hangs when it runs again has its connection closed', async () => {
    let prepared = 0
    const database = await context.open({
      pool: { size: 1, maxOverflow: 0 },
      afterConnect: () => {
        prepared += 1
        return prepared === 2 ? never() : Promise.resolve()
      },
    })
    await ended(database.connection((connection) => connection.execute("set work_mem to '5MB'")))
    expect(await database.fetchVal('select 1')).toBe(1)
    expect(database.stats()).toMatchObject({ used: 0, retired: 1 })
  })

  it("that adds listeners to the driver's connection does not add them again", async () => {
    const database = await context.open({
      pool: single,
      afterConnect: ({ raw }) => {
        ;(raw as Client).on('notice', () => undefined)
        return Promise.resolve()
      },
    })
    const listeners: number[] = []
    for (let round = 0; round < 4; round += 1) {
      await database.connection((connection) => connection.execute("set work_mem to '5MB'"))
      await database.connection(({ raw }) => {
        listeners.push((raw as Client).listenerCount('notice'))
        return Promise.resolve()
      })
    }
    expect(new Set(listeners).size).toBe(1)
  })

  it('is run on another connection when the server ends the first one meanwhile', async () => {
    let prepared = 0
    const database = await context.open({
      pool: { size: 2, maxOverflow: 0, acquireTimeoutMillis: 10_000 },
      afterConnect: async (connection: Connection) => {
        prepared += 1
        if (prepared !== 2) return
        const pid = await connection.fetchVal<number>('select pg_backend_pid()')
        const statement = connection.fetchVal('select pg_sleep(600)')
        const active = `select 1 from pg_stat_activity where pid = ${pid} and query like '%sleep%' and state = 'active'`
        await Promise.all([
          statement,
          waitFor(async () => (await context.admin(active)).length > 0, { what: 'it to run' }).then(() =>
            context.admin(`select pg_terminate_backend(${pid})`),
          ),
        ])
      },
    })
    await using _held = await database.acquire()
    expect(await database.fetchVal('select 1')).toBe(1)
    expect(prepared).toBe(3)
  })
})
