/** A pool whose idle connections were all cut off without a word, as by a firewall: new ones work. */
import { type Database, type PoolOptions, QueryTimeoutError } from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { startProxy, type TcpProxy } from '../../support/tcp-proxy'
import { waitFor } from '../../support/wait-for'
import { failure } from '../support'

/** How long a connection gets to answer, and some for a busy machine. */
const ABOUT_TWO_SECONDS = 3500

eachDatabase('a pool whose connections are silent', (context) => {
  if (context.dialect === 'sqlite') {
    it('is none: a file answers', async () => {
      const database = await context.open({ pool: { validateAfterIdleMillis: 0 } })
      expect(await database.fetchVal('select 1')).toBe(1)
    })
    return
  }

  let proxy: TcpProxy
  beforeEach(async () => {
    proxy = await startProxy(context.url)
  })
  afterEach(() => proxy.close())

  /** Opens as many connections as the pool keeps, and lets none of them through any more. */
  async function silence(pool: PoolOptions & { size: number }): Promise<Database> {
    const database = await context.open({ pool: { validateAfterIdleMillis: 0, ...pool } }, proxy.url)
    const all = await Promise.all(Array.from({ length: pool.size }, () => database.acquire()))
    await Promise.all(all.map((connection) => connection.release()))
    expect(database.stats()).toMatchObject({ idle: pool.size, creating: 0 })
    for (const link of proxy.links) {
      link.hold('toServer')
      link.hold('toClient')
    }
    return database
  }

  it.each([
    ['of one', { size: 1, maxOverflow: 0 }],
    ['of eight that may not grow', { size: 8, maxOverflow: 0 }],
    ['of eight that may', { size: 8, maxOverflow: 2 }],
    ['of thirty, with little patience', { size: 30, maxOverflow: 0, acquireTimeoutMillis: 3500 }],
  ])('%s gives an answer in about two seconds', async (_name, pool) => {
    const database = await silence(pool)
    const began = performance.now()
    expect(await database.fetchVal('select 1')).toBe(1)
    expect(performance.now() - began).toBeLessThan(pool.maxOverflow > 0 ? 1500 : ABOUT_TWO_SECONDS)
    await waitFor(() => database.stats().retired >= pool.size, { what: 'all silent ones to be closed' })
    expect(performance.now() - began).toBeLessThan(ABOUT_TWO_SECONDS + 1000)
  })

  it('serves all who ask at the same time', async () => {
    const database = await silence({ size: 5, maxOverflow: 0 })
    const began = performance.now()
    const answers = Array.from({ length: 20 }, () => database.fetchVal('select 1'))
    expect(await Promise.all(answers)).toEqual(Array.from({ length: 20 }, () => 1))
    expect(performance.now() - began).toBeLessThan(ABOUT_TWO_SECONDS)
  })

  it('asks the others when a statement gets no answer, whether or not anybody waits', async () => {
    const database = await silence({ size: 4, maxOverflow: 0, validateAfterIdleMillis: false })
    const error = await failure(database.fetchVal('select 1', {}, { timeoutMillis: 100 }))
    expect(error).toBeInstanceOf(QueryTimeoutError)
    await waitFor(() => database.stats().retired === 4, { what: 'all silent ones to be closed' })
    expect(await database.fetchVal('select 1')).toBe(1)
  })

  it('loses none that answers late', async () => {
    const pool = { size: 4, maxOverflow: 1, validateAfterIdleMillis: 0 }
    const database = await context.open({ pool }, proxy.url)
    const reasons: string[] = []
    database.on('retire', ({ reason }) => reasons.push(reason))
    const all = await Promise.all(Array.from({ length: 4 }, () => database.acquire()))
    await Promise.all(all.map((connection) => connection.release()))
    proxy.blackhole()
    const answer = database.fetchVal('select 1')
    await waitFor(() => database.stats().creating === 1, { what: 'a new one to be opened beside' })
    proxy.restore()
    expect(await answer).toBe(1)
    await waitFor(() => database.stats().creating === 0)
    expect(reasons.filter((reason) => reason !== 'extra')).toEqual([])
  })
})
