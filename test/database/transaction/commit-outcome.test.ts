/** The connection is lost at every point around COMMIT, and what is reported then is what is in the table. */
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

eachDatabase('what a commit reports', (context) => {
  beforeEach(async () => {
    const database = await context.open()
    await database.execute('create table t (id integer primary key)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('is true when the database is disconnected without grace at any moment of it', async () => {
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

  it('is true when the transaction is called off at any moment of it', async () => {
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
    it('before or in the message is that nothing was committed', async () => {
      for (const passing of cutsBefore(COMMIT.length)) {
        expect([passing, await run({ passing })]).toEqual([passing, 'rolled back'])
      }
    })

    it('right behind the message is true, whichever of the two came first', async () => {
      for (let round = 0; round < 10; round += 1) {
        expect(await run({ passing: COMMIT.length })).not.toBe('unknown')
      }
    })

    it('before or in the answer is that all was committed', async () => {
      for (const answered of [...cutsBefore(ANSWER_BYTES), ANSWER_BYTES]) {
        expect([answered, await run({ answered })]).toEqual([answered, 'committed'])
      }
    })

    it('before the answer is that many rows were committed, which went by COPY', async () => {
      const rows = Array.from({ length: 600 }, (_, n) => ({ id: 1_000_000 + n }))
      const database = await open()
      const sprung = proxy.trap(COMMIT, { answered: 0 })
      const insert = database.executeMany('insert into t (id) values (:id)', rows)
      const [report] = await Promise.all([reportOf(insert), sprung])
      expect(report).toBe('committed')
    })

    it('and the server cannot be asked is that nobody knows', async () => {
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

    it('together with every other connection is still found out', async () => {
      for (const point of [{ passing: 0 }, { passing: 5 }, { answered: 0 }, { answered: 13 }]) {
        const expected = 'passing' in point ? 'rolled back' : 'committed'
        const database = await open()
        // Now there is a connection for questions as well.
        await database.ping()
        const act = (): void => {
          proxy.cut()
        }
        const report = await commitInto(context, database, proxy, { ...point, act })
        expect([point, report]).toEqual([point, expected])
      }
    })

    it('and the server comes back after a moment is still found out', async () => {
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

    it('for the client only is settled by what the server does later', async () => {
      const late: TrapOptions['act'] = async (link) => {
        const before = proxy.accepted
        link.cut('client')
        // The library asks meanwhile, and is told that the transaction is in progress.
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

    it('for the client only, and the server never notices, is unknown when the time is up', async () => {
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
