/** The ground the tests stand on: the transform, the throw-away PostgreSQL, the standing check, and the lock file. */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Database } from '../src/database'
import { compiledFolder } from './support/compiled'
import { eachDatabase, scratches } from './support/each-database'
import { freePort } from './support/free-port'
import { ScratchPostgres } from './support/scratch-postgres'
import { leftBehind, standingCheck } from './support/standing-check'
import { waitFor } from './support/wait-for'

const root = path.resolve(__dirname, '..')

describe('the tool chain', () => {
  standingCheck()

  it('runs `await using` on a Node that does not know it', async () => {
    const log: string[] = []
    {
      await using _resource = { [Symbol.asyncDispose]: async () => void log.push('disposed') }
      log.push('used')
    }
    expect(log).toEqual(['used', 'disposed'])
  })

  it('points at the line of the TypeScript source in a stack', () => {
    const [, first] = (new Error('here').stack ?? '').split('\n')
    expect(first).toMatch(/toolchain\.test\.ts:\d+:\d+/)
    const line = Number(/:(\d+):\d+\)?$/.exec(first ?? '')?.[1])
    const source = execFileSync('sed', ['-n', `${line}p`, __filename], { encoding: 'utf8' })
    expect(source).toContain(`new Error('here')`)
  })

  it('takes ports below the range that outgoing connections use', async () => {
    const ports = await Promise.all(Array.from({ length: 20 }, () => freePort()))
    for (const port of ports) expect(port).toBeLessThan(32_768)
  })

  it('finds nothing wrong with the lock file, and finds what is planted in one', async () => {
    const check = (file: string) =>
      spawnSync(process.execPath, ['.ci/check-lock.mjs', file], { cwd: root, encoding: 'utf8' })
    expect(check('package-lock.json')).toMatchObject({ status: 0, stderr: '' })

    const folder = await mkdtemp(path.join(tmpdir(), 'millpond-lock-'))
    try {
      const lock = JSON.parse(await readFile(path.join(root, 'package-lock.json'), 'utf8'))
      delete lock.packages['node_modules/@swc/core-darwin-arm64']
      lock.packages['node_modules/express'].resolved = 'https://registry.example.org/express.tgz'
      const file = path.join(folder, 'package-lock.json')
      await writeFile(file, JSON.stringify(lock))
      expect(check(file).status).toBe(1)
      expect(check(file).stderr.trim().split('\n').toSorted()).toEqual([
        'node_modules/@swc/core wants @swc/core-darwin-arm64, which is not locked',
        'node_modules/express is bound to one registry by its "resolved"',
      ])
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('stops a PostgreSQL, and deletes its files, when the process that started it is killed', async () => {
    const script = `require('./test/support/postgres-server').startPostgres().then(({ url }) => console.log(url))`
    const owner = spawn(process.execPath, ['-e', `${script}; setInterval(() => {}, 1000)`], {
      cwd: compiledFolder(),
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    try {
      const [url] = await once(owner.stdout, 'data')
      const server = new ScratchPostgres(String(url).trim(), 'PostgreSQL')
      const [answer] = await server.query(String(url).trim(), 'show data_directory')
      await server.dropAll()
      const folder = path.dirname(String(answer?.['data_directory']))
      expect(existsSync(folder)).toBe(true)

      owner.kill('SIGKILL')
      await waitFor(() => !existsSync(folder), { timeoutMillis: 10_000, what: 'the end of its files' })
      await expect(server.query(String(url).trim(), 'select 1')).rejects.toThrow(/ECONNREFUSED/)
    } finally {
      owner.kill('SIGKILL')
    }
  })
})

describe.each(scratches(process.env['TEST_DATABASE_URLS'] ?? ''))(
  'the standing check on $title',
  (scratch) => {
    standingCheck()

    const PATIENCE_MILLIS = 100
    let url: string
    let database: Database

    const find = (databases: Database[]): Promise<string[]> =>
      leftBehind({ scratch, urls: [url], databases }, PATIENCE_MILLIS)

    beforeEach(async () => {
      url = await scratch.create()
      database = new Database(url)
      await database.connect()
      await database.execute('create table marks (id integer)')
    })

    afterEach(async () => {
      await database.disconnect({ graceMillis: 0 })
      await scratch.dropAll()
    })

    it('finds nothing where everything was given back, and has disconnected the Database then', async () => {
      await database.transaction((tx) => tx.execute('insert into marks values (1)'))
      expect(await find([database])).toEqual([])
      expect(database.isConnected).toBe(false)
    })

    it('finds a connection that was not given back', async () => {
      await database.acquire()
      expect(await find([database])).toContainEqual(expect.stringContaining('has lent out'))
    })

    it('finds a transaction that was not ended', async () => {
      const transaction = await database.begin()
      await transaction.execute('insert into marks values (1)')
      expect(await find([database])).toContainEqual(expect.stringContaining('an open transaction'))
    })

    it('finds the connections of a Database that nobody disconnects', async () => {
      expect(await find([])).toEqual([expect.stringContaining('a connection after disconnect()')])
    })

    it('finds a server that listens, and closes it', async () => {
      const server = createServer()
      server.listen(await freePort(), '127.0.0.1')
      await once(server, 'listening')
      expect(await find([database])).toEqual(['a server that listens'])
      expect(server.listening).toBe(false)
    })
  },
)

eachDatabase('eachDatabase', (context) => {
  it('allows a Database with forceRollback its transaction until the test ends', async () => {
    const database = await context.open({ forceRollback: true })
    await database.execute('create table marks (id integer)')
    expect(await database.fetchVal('select count(*) from marks').then(Number)).toBe(0)
  })

  it('makes further databases, and looks into them over a connection of its own', async () => {
    const url = await context.createDatabase()
    const database = await context.open({}, url)
    await database.execute('create table marks (id integer)')
    expect(await context.admin('select id from marks', url)).toEqual([])
    expect(url).not.toBe(context.url)
  })
})
