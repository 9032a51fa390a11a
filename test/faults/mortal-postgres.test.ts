/** The PostgreSQL that the fault tests kill and start: it never outlives the process that started it. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { compiledFolder } from '../support/compiled'
import { withAuditor } from '../support/faults/ledger'
import { waitFor } from '../support/wait-for'
import { describeFault } from './support'

const START = `require('./test/support/mortal-postgres').startMortalPostgres().then(async (server) => {
  const { withAuditor } = require('./test/support/faults/ledger')
  const folder = await withAuditor(server.url, (client) => client.query('show data_directory'))
  // A busy backend is stopped as well, since nothing would wake it when its postmaster ends.
  withAuditor(server.url, (client) => client.query('select pg_sleep(600)')).catch(() => undefined)
  await server.freeze()
  console.log(JSON.stringify({ url: server.url, folder: folder.rows[0].data_directory }))
})`

describeFault('a mortal PostgreSQL', (server) => {
  const ask = async (sql: string): Promise<Record<string, unknown>[]> =>
    withAuditor(server().url, async (client) => (await client.query<Record<string, unknown>>(sql)).rows)

  it('keeps acknowledged commits when it is killed and started again', async () => {
    await ask('create table kept as select 1 as n')
    await server().kill()
    await expect(ask('select 1')).rejects.toThrow(/ECONNREFUSED/)
    const before = performance.now()
    const acceptedAt = await server().start()
    expect(acceptedAt).toBeGreaterThan(before)
    expect(await ask('select n from kept')).toEqual([{ n: 1 }])
  })

  it('answers no client while it is frozen, and all of them later', async () => {
    await server().freeze()
    let isAnswered = false
    const answer = ask('select 2 as n').finally(() => (isAnswered = true))
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(isAnswered).toBe(false)
    await server().thaw()
    expect(await answer).toEqual([{ n: 2 }])
  })

  it('can be killed while it is frozen', async () => {
    await server().freeze()
    await server().kill()
    await server().start()
    expect(await ask('select 3 as n')).toEqual([{ n: 3 }])
  })

  it('ends and removes its files when the process that started it is killed, frozen or not', async () => {
    const owner = spawn(process.execPath, ['-e', `${START}; setInterval(() => {}, 1000)`], {
      cwd: compiledFolder(),
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    try {
      const [line] = (await once(owner.stdout, 'data')) as [Buffer]
      const { url, folder } = JSON.parse(String(line)) as { url: string; folder: string }
      const base = path.dirname(folder)
      expect(existsSync(base)).toBe(true)
      owner.kill('SIGKILL')
      await waitFor(() => !existsSync(base), { timeoutMillis: 10_000, what: 'the end of its files' })
      await expect(withAuditor(url, () => Promise.resolve())).rejects.toThrow(/ECONNREFUSED/)
    } finally {
      owner.kill('SIGKILL')
    }
  })
})
