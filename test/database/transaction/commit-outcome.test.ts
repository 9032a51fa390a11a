/** The connection is lost at every point around COMMIT: the reported outcome is that of the table. */
import { rounds } from '../../support/rounds'
import type { Database, DatabaseOptions } from '../../../src/database'
import {
  ANSWER_BYTES, COMMIT, commitInto, expectTrue, nextId, type Report, reportOf, shapeOf,
} from '../../support/commits' // prettier-ignore
import { eachDatabase } from '../../support/each-database'
import { startProxy, type TcpProxy, type TrapOptions } from '../../support/tcp-proxy'
import { waitFor } from '../../support/wait-for'

/** How many bytes lie between two places at which a message is cut. */
const STEP = rounds(4, 1)

function cutsBefore(length: number): readonly number[] {
  return Array.from({ length: Math.ceil(length / STEP) }, (_, index) => index * STEP)
}

eachDatabase('the reported outcome of a COMMIT', (context) => {
  beforeEach(async () => {
    const database = await context.open()
    await database.execute('create table t (id integer primary key)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('is true when disconnect() without grace comes at any moment', async () => {
    const reports = new Set<Report>()
    for (let round = 0; round < 60; round += 1) {
      const database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
      const id = nextId()
      const reporting = reportOf(shapeOf(round)(database, id))
      for (let turn = 0; turn < round / 3; turn += 1) await new Promise(setImmediate)
      await database.disconnect({ graceMillis: 0 })
      const report = await reporting
      reports.add(report)
      await expectTrue(context, report, id)
    }
    expect([...reports]).toContain('rolled back')
  })

  it('is true when the transaction is aborted at any moment', async () => {
    const database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    const reports = new Set<Report>()
    for (let round = 0; round < 100; round += 1) {
      const controller = new AbortController()
      const id = nextId()
      const work = database.transaction(() => database.execute('insert into t values (:id)', { id }), {
        signal: controller.signal,
      })
      const reporting = reportOf(work)
      for (let turn = 0; turn < round / 4; turn += 1) await new Promise(setImmediate)
      controller.abort()
      const report = await reporting
      reports.add(report)
      await expectTrue(context, report, id)
    }
    expect([...reports].toSorted()).toEqual(['committed', 'rolled back'])
  })

  if (context.dialect === 'sqlite') return

  let proxy: TcpProxy
  beforeEach(async () => {
    proxy = await startProxy(context.url)
  })
  afterEach(() => proxy.close())

  const open = (options: DatabaseOptions = {}): Promise<Database> =>
    context.open(
      { ...options, pool: { size: 2, maxOverflow: 0, acquireTimeoutMillis: 2000, ...options.pool } },
      proxy.url,
    )

  /** Each on a Database of its own, so that none meets the connection that another has lost. */
  const run = async (trap: TrapOptions, options?: DatabaseOptions): Promise<Report> =>
    commitInto(context, await open(options), proxy, trap)
  const cutAndRefuse: TrapOptions = {
    act: (link) => {
      proxy.refuse()
      link.cut('both')
    },
  }
  describe('when the connection is cut', () => {
    it('before the COMMIT message has passed is a rollback', async () => {
      for (const passing of cutsBefore(COMMIT.length)) {
        expect([passing, await run({ passing })]).toEqual([passing, 'rolled back'])
      }
    })

    it('right after the COMMIT message is never unknown', async () => {
      for (let round = 0; round < 10; round += 1) {
        expect(await run({ passing: COMMIT.length })).not.toBe('unknown')
      }
    })

    it('before the answer has arrived is a commit', async () => {
      for (const answered of [...cutsBefore(ANSWER_BYTES), ANSWER_BYTES]) {
        expect([answered, await run({ answered })]).toEqual([answered, 'committed'])
      }
    })

    it('before the answer is a commit for rows stored by COPY', async () => {
      const rows = Array.from({ length: 600 }, (_, n) => ({ id: 1_000_000 + n }))
      const database = await open()
      const sprung = proxy.trap(COMMIT, { answered: 0 })
      const insert = database.executeMany('insert into t (id) values (:id)', rows)
      const [report] = await Promise.all([reportOf(insert), sprung])
      expect(report).toBe('committed')
    })

    it('is unknown when the server cannot be asked', async () => {
      const pool = { acquireTimeoutMillis: 60 }
      for (const passing of [...cutsBefore(COMMIT.length), COMMIT.length]) {
        expect([passing, await run({ ...cutAndRefuse, passing }, { pool })]).toEqual([passing, 'unknown'])
        await proxy.accept()
      }
      for (const answered of [...cutsBefore(ANSWER_BYTES), ANSWER_BYTES]) {
        const expected = answered < ANSWER_BYTES ? 'unknown' : 'committed'
        expect([answered, await run({ ...cutAndRefuse, answered }, { pool })]).toEqual([answered, expected])
        await proxy.accept()
      }
    })

    it('is found out when every other connection is cut as well', async () => {
      for (const point of [{ passing: 0 }, { passing: 5 }, { answered: 0 }, { answered: 13 }]) {
        const expected = 'passing' in point ? 'rolled back' : 'committed'
        const database = await open()
        // Now there is a control connection as well.
        await database.ping()
        const act = (): void => {
          proxy.cut()
        }
        const report = await commitInto(context, database, proxy, { ...point, act })
        expect([point, report]).toEqual([point, expected])
      }
    })

    it('is found out when the server comes back after a moment', async () => {
      for (const point of [{ passing: 0 }, { answered: 0 }]) {
        const act: TrapOptions['act'] = (link) => {
          proxy.refuse()
          link.cut('both')
          setTimeout(() => void proxy.accept(), 150)
        }
        const expected = 'passing' in point ? 'rolled back' : 'committed'
        expect([point, await run({ ...point, act })]).toEqual([point, expected])
      }
    })

    it('for the client only is what the server does later', async () => {
      const late: TrapOptions['act'] = async (link) => {
        const before = proxy.accepted
        link.cut('client')
        // The library asks meanwhile, and hears that the transaction is in progress.
        await waitFor(() => proxy.accepted > before)
        await new Promise((resolve) => setTimeout(resolve, 120))
      }
      expect(await run({ passing: 0, act: late })).toBe('committed')
      const hungUp: TrapOptions['act'] = async (link) => {
        await late(link)
        link.cut('server')
      }
      expect(await run({ passing: 0, act: hungUp })).toBe('rolled back')
    })

    it('for the client only is unknown when the server does not notice within the time limit', async () => {
      const database = await open({ pool: { acquireTimeoutMillis: 200 } })
      const id = nextId()
      const sprung = proxy.trap(COMMIT, {
        passing: 0,
        act: async (link) => {
          link.cut('client')
          expect(await reporting).toBe('unknown')
          link.cut('server')
        },
      })
      const reporting = reportOf(shapeOf(id)(database, id))
      await sprung
      expect(await reporting).toBe('unknown')
    })
  })
})
