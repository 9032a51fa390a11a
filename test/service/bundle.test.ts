/** The bundle: the service in one file, as `npm start` and the image run it. */
import { execFile } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { crc32 } from 'node:zlib'
import request from 'supertest'
import * as library from '../../src/database'
import { trailerOf } from '../../src/service/bundle-loader'
import { compiledFolder } from '../support/compiled'
import { eachDatabase } from '../support/each-database'
import { standingCheck } from '../support/standing-check'
import { ServiceProcess } from './support/service-process'

const root = path.resolve(__dirname, '..', '..')
const run = promisify(execFile)
const service = path.join(compiledFolder(), 'src', 'service')
const START = [path.join(service, 'start.js')]

/** The bytes with another one at that place. */
function withOther(bytes: Buffer, place: number): Buffer {
  const other = Buffer.from(bytes)
  const at = Math.floor(place)
  other[at] = (other[at] ?? 0) ^ 1
  return other
}

beforeAll(async () => {
  const assets = path.join('src', 'express', 'monitor', 'assets')
  cpSync(path.join(root, assets), path.join(compiledFolder(), assets), { recursive: true })
  // The build does not depend on the environment.
  const env = {
    ...process.env,
    DATABASE_URL: 'postgresql://nowhere.invalid/x',
    HOST: 'nowhere.invalid',
    PORT: 'x',
  }
  await run(process.execPath, [path.join(root, 'build', 'bundle.mjs'), compiledFolder()], { env })
}, 60_000)

describe('the bundle', () => {
  standingCheck()

  it('comes with its compiled code cache, which Node accepts without flags and refuses with others', async () => {
    const ask = `console.log(require(${JSON.stringify(path.join(service, 'bundle-loader.js'))}).read().cachedDataRejected)`
    const answer = async (...flags: string[]) => (await run(process.execPath, [...flags, '-e', ask])).stdout
    expect(await answer()).toBe('false\n')
    expect(await answer('--no-opt')).toBe('true\n')
  })

  it.each<[what: string, spoil: (compiled: Buffer, folder: string) => Buffer]>([
    ['empty', () => Buffer.alloc(0)],
    ['shorter than its seal', (compiled) => compiled.subarray(0, 5)],
    ['cut off', (compiled) => compiled.subarray(0, compiled.length / 2)],
    ['changed in one byte', (compiled) => withOther(compiled, compiled.length / 2)],
    ['changed in its first byte behind the seal', (compiled) => withOther(compiled, 8)],
    ['changed in its seal', (compiled) => withOther(compiled, 0)],
    [
      'of another bundle',
      (compiled, folder) => {
        const file = path.join(folder, 'bundle.js')
        const code = `${readFileSync(file, 'latin1').slice(0, -trailerOf(0).length)};`
        writeFileSync(file, code + trailerOf(crc32(code)))
        return compiled
      },
    ],
  ])('is compiled anew where what was compiled of it is %s', async (_what, spoil) => {
    const folder = mkdtempSync(path.join(tmpdir(), 'millpond-bundle-'))
    try {
      for (const name of ['bundle.js', 'bundle.js.compiled', 'bundle-loader.js'])
        cpSync(path.join(service, name), path.join(folder, name))
      const compiled = path.join(folder, 'bundle.js.compiled')
      writeFileSync(compiled, spoil(readFileSync(compiled), folder))
      const ask =
        "const script = require('./bundle-loader.js').read();" +
        'console.log(typeof script.runInThisContext(), script.cachedDataRejected)'
      const { stdout } = await run(process.execPath, ['-e', ask], { cwd: folder })
      expect(stdout).toBe('function undefined\n')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('gives errors the names of the library', () => {
    const text = readFileSync(path.join(service, 'bundle.js'), 'latin1')
    const names = Object.keys(library).filter((name) => name.endsWith('Error'))
    expect(names.length).toBeGreaterThan(10)
    for (const name of names) expect(text).toMatch(new RegExp(`\\b${name}=class\\b|\\bclass ${name}\\b`))
  })
})

eachDatabase('the service in the bundle', (context) => {
  const start = (variables: Record<string, string> = {}): ServiceProcess =>
    new ServiceProcess(
      {
        DATABASE_URL: context.url,
        PRODUCTS_DATABASE_URL: context.url,
        MIGRATE_ON_START: 'true',
        PORT: '0',
        ADMIN_PORT: '0',
        ...variables,
      },
      START,
    )

  it("answers requests, serves its documents and the monitor's assets, and shuts down", async () => {
    await using process = start()
    const url = await process.listening()
    const admin = (await process.said(/^pool monitor/)).replace('pool monitor and metrics on ', '')
    const user = { username: 'ada1', email: 'ada1@example.org' }
    await request(url).post('/users').send(user).expect(201)
    await request(url).post('/users').send(user).expect(409)
    await request(url).get('/products').expect(200)
    await request(url).get('/docs/').expect(200)
    const { body } = await request(url).get('/openapi.json').expect(200)
    expect(body).toHaveProperty('openapi', '3.1.0')
    await request(admin).get('/').expect(200)
    await request(admin).get('/assets/page.js').expect(200)
    const { text } = await request(admin).get('/metrics').expect(200)
    expect(text).toMatch(/db_client_operation_duration_seconds_count\{.*db_operation_name="INSERT"/)
    process.kill('SIGTERM')
    expect(await process.ended()).toBe(0)
    expect(process.complaints).toEqual([])
  })

  it('does not wait for the migration lock when there is nothing to migrate', async () => {
    const database = await context.open()
    await database.exclusively('millpond migrations main', async () => {
      await using process = start()
      expect(await process.listening()).toMatch(/^http:/)
    })
  })

  it('releases a migration lock that was left behind, when there is nothing to migrate', async () => {
    await context.admin('update knex_migrations_main_lock set is_locked = 1')
    await using process = start()
    expect(await process.said(/^database main: .*: its lock is released$/)).toContain('has ended')
    await process.listening()
  })

  it('logs stack traces with the places of the sources', async () => {
    await using process = start()
    const url = await process.listening()
    await context.admin('drop table products')
    await request(url).get('/products').expect(503)
    await process.said(/^GET \/products failed$/)
    const line = process.everything.split('\n').find((each) => each.includes('GET /products failed')) ?? '{}'
    const { err } = JSON.parse(line) as { err: { type: string; stack: string } }
    expect(err.type).toBe('UndefinedNameError')
    expect(err.stack).toMatch(/\bsrc\/service\/products\/queries\.ts:\d+:\d+/)
    expect(err.stack).not.toContain('bundle.js')
  })

  it.each(['cut off', 'something else'])(
    'runs without the places of the sources when their names are %s',
    async (damage) => {
      const file = path.join(service, 'bundle.js.sources')
      const whole = readFileSync(file, 'utf8')
      writeFileSync(file, damage === 'cut off' ? whole.slice(0, 100) : 'null')
      try {
        await using process = start()
        const url = await process.listening()
        await context.admin('drop table if exists products')
        for (let count = 0; count < 2; count += 1) {
          const { body } = await request(url).get('/products').expect(503)
          expect(body).toHaveProperty('status', 503)
        }
        await request(url).get('/livez').expect(200)
      } finally {
        writeFileSync(file, whole)
      }
    },
  )

  it.each<[what: string, spoil: (bundle: Buffer) => Buffer | null]>([
    ['missing', () => null],
    ['empty', () => Buffer.alloc(0)],
    ['cut off', (bundle) => bundle.subarray(0, bundle.length / 2)],
    ['cut off in its last line', (bundle) => bundle.subarray(0, -3)],
    ['changed in one byte', (bundle) => withOther(bundle, bundle.length / 3)],
  ])('starts from the single files where it is %s, and says so', async (_what, spoil) => {
    const file = path.join(service, 'bundle.js')
    const whole = readFileSync(file)
    const spoilt = spoil(whole)
    if (spoilt === null) rmSync(file)
    else writeFileSync(file, spoilt)
    try {
      await using process = start()
      await request(await process.listening())
        .get('/users')
        .expect(200)
      expect(process.complaints).toEqual([
        expect.stringMatching(/^millpond: .*bundle\.js is missing or damaged\./),
      ])
    } finally {
      writeFileSync(file, whole)
    }
  })

  it('names an invalid setting in one line, and exits with 2', async () => {
    await using process = start({ DATABASE_POOL_SIZE: 'many' })
    expect(await process.ended()).toBe(2)
    expect(process.complaints).toEqual([expect.stringMatching(/^millpond: DATABASE_POOL_SIZE must be/)])
  })
})
