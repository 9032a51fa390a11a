/** Migrations at start-up: many processes at once, and one that is killed in the middle of them. */
import { rounds } from '../support/rounds'
import { eachDatabase } from '../support/each-database'
import { ScriptProcess } from '../support/faults/script-process'
import { freePort } from '../support/free-port'
import { waitFor } from '../support/wait-for'
import type { MigratingScript } from './support/migrating-script'
import { ServiceProcess } from './support/service-process'

const PROCESSES = rounds(4, 8)

eachDatabase('eight services that start at once', (context) => {
  jest.setTimeout(180_000)

  it('make an empty database ready once, and all of them start', async () => {
    const services: ServiceProcess[] = []
    try {
      for (let n = 0; n < PROCESSES; n += 1) {
        const env = {
          DATABASE_URL: context.url,
          PRODUCTS_DATABASE_URL: context.url,
          MIGRATE_ON_START: 'true',
          PORT: String(await freePort()),
        }
        services.push(new ServiceProcess(env))
      }
      await Promise.all(services.map((service) => service.listening()))
      const ran = services.flatMap(({ messages }) =>
        messages.filter((line) => /: migration .* done in/.test(line)),
      )
      expect(ran).toHaveLength(new Set(ran.map((line) => line.replace(/,.*/, ''))).size)
      const database = await context.open()
      for (const folder of ['main', 'products']) {
        const names = await database.fetchAll<{ name: string }>(`SELECT name FROM knex_migrations_${folder}`)
        expect(names.length).toBeGreaterThan(0)
        expect(new Set(names.map(({ name }) => name)).size).toBe(names.length)
      }
      expect(ran).toHaveLength(
        Number(await database.fetchVal('SELECT count(*) FROM knex_migrations_main')) +
          Number(await database.fetchVal('SELECT count(*) FROM knex_migrations_products')),
      )
      for (const service of services) expect(service.complaints).toEqual([])
    } finally {
      for (const service of services) await service[Symbol.asyncDispose]()
    }
  })
})

eachDatabase('a process that is killed while it migrates', (context) => {
  jest.setTimeout(120_000)

  const start = (script: Omit<MigratingScript, 'url'>, url: string): ScriptProcess =>
    new ScriptProcess('../../service/support/migrating-script.ts', { url, ...script })

  it.each<[string, NonNullable<MigratingScript['stopsIn']>, boolean]>([
    ['in the first of two', 'first', false],
    ['in the last of two', 'second', false],
    ['in one without a transaction', 'plain', true],
    ['before one without a transaction', 'second', true],
  ])(
    '%s, keeps nobody out: those who waited go on, and nobody unlocks anything',
    async (_what, stopsIn, hasPlain) => {
      const url = await context.createDatabase()
      await using victim = start({ stopsIn, hasPlain }, url)
      const goesOn = new RegExp(`^migration ${stopsIn}, for \\d+\\.\\d s now$`)
      await waitFor(() => victim.lines.some((line) => goesOn.test(line)), { timeoutMillis: 60_000 })
      await waitFor(() => victim.lines.includes('in the middle'))
      await using waiting = start({ hasPlain }, url)
      // It has been told off at least once by then.
      await waitFor(() => waiting.lines.some((line) => line.startsWith('waiting for another process')), {
        timeoutMillis: 60_000,
      })
      victim.kill()
      expect(await victim.ended()).toBe('SIGKILL')
      expect([await waiting.ended(), waiting.complaints]).toEqual([0, ''])
      await using late = start({ hasPlain }, url)
      expect([await late.ended(), late.complaints, late.lines.at(-1)]).toEqual([0, '', 'ran nothing'])

      const database = await context.open(undefined, url)
      const names = await database.fetchAll('SELECT name FROM knex_migrations_test ORDER BY id')
      const expected = ['first', 'second', ...(hasPlain ? ['plain'] : [])]
      expect(names).toEqual(expected.map((name) => ({ name })))
      for (const name of expected) expect(await database.fetchAll(`SELECT * FROM ${name}`)).toEqual([])
    },
  )

  it.each<[string, NonNullable<MigratingScript['stopsIn']>]>([
    ['in the seeds', 'seed'],
    ['in a migration before them', 'plain'],
  ])(
    '%s, that follow one without a transaction: nobody is ready without them, and the next one runs them',
    async (_what, stopsIn) => {
      const url = await context.createDatabase()
      const script = { hasPlain: true, hasSeed: true }
      await using victim = start({ ...script, stopsIn }, url)
      await waitFor(() => victim.lines.includes('in the middle'), { timeoutMillis: 60_000 })
      await using waiting = start(script, url)
      await waitFor(() => waiting.lines.some((line) => line.startsWith('waiting for another process')), {
        timeoutMillis: 60_000,
      })
      victim.kill()
      expect([await waiting.ended(), waiting.complaints]).toEqual([0, ''])
      const database = await context.open(undefined, url)
      expect(await database.fetchAll('SELECT id FROM first')).toEqual([{ id: 1 }])
      // Rows that somebody has deleted do not come back.
      await database.execute('DELETE FROM first')
      await using late = start(script, url)
      expect([await late.ended(), late.complaints, late.lines]).toEqual([0, '', ['ran nothing']])
      expect(await database.fetchAll('SELECT id FROM first')).toEqual([])
    },
  )
})

eachDatabase('exclusively', (context) => {
  it('lets one at a time in, whichever Database asks, and others under another name', async () => {
    const databases = [await context.open(), await context.open()]
    let inside = 0
    let most = 0
    const work = async (): Promise<void> => {
      inside += 1
      most = Math.max(most, inside)
      await databases[0]?.fetchVal('SELECT 1')
      inside -= 1
    }
    await Promise.all([...databases, ...databases].map((database) => database.exclusively('job', work)))
    expect(most).toBe(1)
    await databases[0]?.exclusively('job', async () => {
      expect(await databases[1]?.exclusively('other', () => Promise.resolve('in'))).toBe('in')
      await expect(
        databases[1]?.exclusively('job', () => Promise.resolve(), { timeoutMillis: 300 }),
      ).rejects.toMatchObject({ code: 'QUERY_TIMEOUT' })
    })
  })

  it('lets the next one in when the work fails, and works with a pool of one connection', async () => {
    const database = await context.open({ pool: { size: 1, maxOverflow: 0, acquireTimeoutMillis: 2000 } })
    const failing = database.exclusively('job', async () => {
      await database.execute('SELECT 1')
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    expect(await database.exclusively('job', () => database.fetchVal('SELECT 1'))).toBe(1)
  })
})
