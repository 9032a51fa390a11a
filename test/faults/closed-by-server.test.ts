/** A server that closes a connection says why, and the next error on that connection repeats it. */
import { Database, type DatabaseOptions } from '../../src/database'
import { failure } from '../database/support'
import { withAuditor } from '../support/faults/ledger'
import { report } from '../support/report'
import { waitFor } from '../support/wait-for'
import { describeFault } from './support'

const PID = 'select pg_backend_pid()'

describeFault('a server that closes a connection', (server) => {
  let database: Database | undefined
  afterEach(() => database?.disconnect())

  const open = async (options: DatabaseOptions = {}): Promise<Database> => {
    database = new Database(server().url, { pool: { size: 1, maxOverflow: 0 }, ...options })
    await database.connect()
    return database
  }
  /** Opens a Database whose server closes idle sessions after a moment, by the timeout `setting`. */
  const openImpatient = (setting: string): Promise<Database> =>
    open({
      afterConnect: async (connection) => {
        await connection.execute(`set ${setting} = '50ms'`)
      },
    })
  const ask = (sql: string, values: unknown[]): Promise<unknown[]> =>
    withAuditor(server().url, async (client) => (await client.query(sql, values)).rows as unknown[])
  const gone = (pid: unknown): Promise<unknown> =>
    waitFor(async () => (await ask('select from pg_stat_activity where pid = $1', [pid])).length === 0, {
      what: 'the process of the server to end',
    })
  const hungUp = (code: string, reason: RegExp): object => ({
    name: 'ConnectionError',
    message: expect.stringMatching(reason) as unknown,
    retryable: true,
    cause: { code },
  })

  it.each([
    ['idle_in_transaction_session_timeout', '25P03', /idle-in-transaction timeout/],
    ['transaction_timeout', '25P04', /transaction timeout/],
  ])(
    'during a transaction by its %s is named in the error of a statement and of COMMIT',
    async (setting, code, reason) => {
      const impatient = await openImpatient(setting)
      for (const isAsked of [true, false]) {
        const error = await failure(
          impatient.transaction(async (tx) => {
            await gone(await tx.fetchVal(PID))
            if (isAsked) await tx.fetchVal('select 2')
          }),
        )
        expect(error).toMatchObject(hungUp(code, reason))
      }
      expect(await impatient.fetchVal('select 1')).toBe(1)
    },
  )

  it('during a stream with a transaction of its own is named in the error', async () => {
    const impatient = await openImpatient('idle_in_transaction_session_timeout')
    const read = async (): Promise<void> => {
      let isFirst = true
      for await (const { pid } of impatient.iterate(`${PID} as pid from generate_series(1, 3000)`)) {
        if (isFirst) await gone(pid)
        isFirst = false
      }
    }
    expect(await failure(read())).toMatchObject(hungUp('25P03', /idle-in-transaction timeout/))
  })

  it('that is idle is named in the error of its holder', async () => {
    const impatient = await openImpatient('idle_session_timeout')
    const error = await failure(
      impatient.connection(async (connection) => {
        await gone(await connection.fetchVal(PID))
        await connection.fetchVal('select 2')
      }),
    )
    expect(error).toMatchObject(hungUp('57P05', /idle-session timeout/))
  })

  it('for an administrator is named in the next error', async () => {
    const held = await open()
    const next: (() => Promise<unknown>)[] = [
      () => held.fetchVal('select 1'),
      () => held.execute('set work_mem = 1000'),
      () => held.fetchVal('explain select 1'),
      () => held.transaction(() => held.fetchVal('select 1')),
      () => held.iterate('select 1').next(),
      () => held.executeMany('insert into nowhere (a) values (:a)', [{ a: 1 }]),
      async () => await held.knex.raw('select 1'),
    ]
    for (const work of next) {
      const error = await failure(
        held.connection(async () => {
          const pid = await held.fetchVal(PID)
          await ask('select pg_terminate_backend($1)', [pid])
          await gone(pid)
          await work()
        }),
      )
      expect(error).toMatchObject(hungUp('57P01', /administrator/))
    }
  })

  it('because another backend has crashed is named in the error, busy or idle', async () => {
    const reason = /crash of another/
    const crashing = await open({ pool: { size: 3, maxOverflow: 0 } })
    /** Resolves to the error that the holder of an idle connection gets. */
    const crash = async (): Promise<unknown> => {
      const victim = await crashing.acquire()
      const idle = await crashing.acquire()
      const busy = await crashing.acquire()
      await idle.fetchVal('select 1')
      const running = failure(busy.fetchVal('select pg_sleep(60)'))
      process.kill(Number(await victim.fetchVal(PID)), 'SIGKILL')
      expect(await running).toMatchObject(hungUp('57P02', reason))
      // What is sent before the server's last word has come may cost it. It opens connections again once all others are gone.
      const next = new Database(server().url)
      await next.connect()
      await next.disconnect()
      const lost = await failure(idle.fetchVal('select 1'))
      for (const connection of [victim, idle, busy]) await connection.release()
      expect(await crashing.fetchVal('select 1')).toBe(1)
      return lost
    }
    let lost = await crash()
    // PostgreSQL says it in a signal handler, "better to try" (quickdie() in tcop/postgres.c), so that it may stay unsaid.
    for (let again = 0; again < 2 && !reason.test(String(lost)); again += 1) {
      report('a crash that an idle connection was not told', { error: String(lost) })
      lost = await crash()
    }
    expect(lost).toMatchObject(hungUp('57P02', reason))
  })
})
