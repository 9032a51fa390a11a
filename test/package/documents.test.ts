/** What README.md and docs/migrations.md tell a new user to write runs as it is pasted, in a project with the packed library. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import path from 'node:path'
import { scratches } from '../support/each-database'
import { freePort } from '../support/free-port'
import { standingCheck } from '../support/standing-check'
import { waitFor } from '../support/wait-for'
import { locked, pack, Project, ROOT, temporaryFolder } from './project'

/** The blocks of code of a page, by what stands behind the three backticks. */
function blocksOf(page: string): readonly (readonly [string, string])[] {
  const text = readFileSync(path.join(ROOT, page), 'utf8')
  return [...text.matchAll(/^```(\S+(?: file=\S+)?)\n([^]*?)^```$/gm)].map(([, info = '', code = '']) => [info, code])
}

function blockOf(page: string, info: string): string {
  const [, code] = blocksOf(page).find(([found]) => found === info) ?? []
  if (code === undefined) throw new Error(`${page} has no block ${info}`)
  return code
}

describe.each(scratches(process.env['TEST_DATABASE_URLS'] ?? ''))('a new user on $dialect', (scratch) => {
  standingCheck()
  let folder: string
  let project: Project
  let environment: Record<string, string>

  beforeAll(async () => {
    folder = await temporaryFolder()
    project = await Project.install([await pack(folder), ...['pg', 'express'].map(locked)])
    await project.borrow('sqlite3')
  })
  beforeEach(async () => {
    environment = { DATABASE_URL: await scratch.create(), PORT: String(await freePort()) }
  })
  afterAll(async () => {
    await project.remove()
    await rm(folder, { recursive: true })
    await scratch.dropAll()
  })

  /** Runs a server until `use` has ended, and expects it to end well. */
  async function whileServing(file: string, use: (url: string) => Promise<void>): Promise<void> {
    const child = spawn(process.execPath, [file], {
      cwd: project.folder,
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    const ended = once(child, 'exit')
    const url = `http://127.0.0.1:${environment['PORT']}`
    try {
      await waitFor(() => child.exitCode !== null || fetch(url).then(() => true), { timeoutMillis: 30_000 })
      expect(child.exitCode).toBe(null)
      await use(url)
    } finally {
      child.kill('SIGTERM')
    }
    expect(await ended).toEqual([0, null])
  }

  it('runs the first example of the README, and gets the answers that stand below it', async () => {
    const example = blockOf('README.md', 'js')
    expect(example).toContain('port: 3000')
    await project.write({ 'app.mjs': example.replace('port: 3000', `port: ${environment['PORT']}`) })
    const calls = blockOf('README.md', 'console').trim().split('\n\n')
    expect(calls).toHaveLength(2)
    await whileServing('app.mjs', async (url) => {
      for (const call of calls) {
        const [command = '', answer] = call.split('\n')
        const shell = command.replace('$ curl', 'curl -s').replace('localhost:3000', url)
        const { output } = await project.run('sh', ['-c', shell])
        expect(output).toBe(answer)
      }
      expect((await fetch(`${url}/accounts/9`)).status).toBe(404)
    })
  })

  it('migrates by the command line, at start-up and in tests, as docs/migrations.md says', async () => {
    const files = blocksOf('docs/migrations.md').flatMap(([info, code]) => {
      const [, file] = / file=(\S+)/.exec(info) ?? []
      return file === undefined ? [] : [[file, code] as const]
    })
    expect(files.map(([file]) => path.basename(file))).toEqual([
      'knexfile.mjs',
      '20260101000000_accounts.mjs',
      'app.mjs',
      'accounts.test.mjs',
    ])
    await project.write(Object.fromEntries(files))
    const knex = 'node_modules/knex/bin/cli.js'
    // At start-up first, so that the command line finds nothing to do, and can go back.
    await whileServing('app.mjs', async (url) => {
      expect(await (await fetch(`${url}/accounts`)).json()).toEqual([])
    })
    const byHand = await project.run(process.execPath, [knex, 'migrate:latest'], environment)
    expect(byHand).toMatchObject({ output: expect.stringContaining('Already up to date') as string, failed: false })
    const back = await project.run(process.execPath, [knex, 'migrate:rollback'], environment)
    expect(back).toMatchObject({ output: expect.stringContaining('1 migrations') as string, failed: false })
    const tests = await project.node(['--test', 'accounts.test.mjs'], environment)
    expect(tests).toMatchObject({ output: expect.stringMatching(/pass 2\b/) as string, failed: false })
  })
})
