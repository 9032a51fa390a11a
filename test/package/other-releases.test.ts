/** The packed library with other releases of Node, Express, TypeScript, vitest and npm; with the linters of packages. */
import { readdirSync, statSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import path from 'node:path'
import { scratches } from '../support/each-database'
import { report } from '../support/report'
import type { Scratch } from '../support/scratch'
import { standingCheck } from '../support/standing-check'
import { FILES } from './programs'
import { locked, type Outcome, pack, Project, temporaryFolder } from './project'

const WORKS: Outcome = { output: 'works\n', failed: false }
/** What a user of PostgreSQL may have to install. */
const MOST_PACKAGES = 40
const MOST_MEGABYTES = 15

const [scratch] = scratches(process.env['TEST_DATABASE_URLS'] ?? '').toSorted((a, b) =>
  a.dialect.localeCompare(b.dialect),
) as [Scratch]

// Many installs.
describe('the package, elsewhere', () => {
  standingCheck()
  let folder: string
  let archive: string
  let environment: Record<string, string>
  let projects: Project[] = []

  const install = async (...packages: string[]): Promise<Project> => {
    const project = await Project.install([archive, ...packages])
    projects.push(project)
    await project.borrow('sqlite3').catch(() => undefined)
    await project.write(FILES)
    return project
  }

  beforeAll(async () => {
    folder = await temporaryFolder()
    archive = await pack(folder)
    environment = { DATABASE_URL: await scratch.create() }
  })
  afterEach(async () => {
    for (const project of projects) await project.remove()
    projects = []
  })
  afterAll(async () => {
    await rm(folder, { recursive: true })
    await scratch.dropAll()
  })

  it('needs few packages for PostgreSQL, all of them small, and nothing to compile', async () => {
    const begun = performance.now()
    const project = await Project.install([archive, 'pg'])
    projects.push(project)
    const seconds = (performance.now() - begun) / 1000
    const modules = path.join(project.folder, 'node_modules')
    const files = readdirSync(modules, { recursive: true, encoding: 'utf8' })
    const packages = files.filter((file) => /(?:^|node_modules\/)(?:@[^/]+\/)?[^/@.]+\/package\.json$/.test(file))
    const megabytes = files.reduce((sum, file) => sum + statSync(path.join(modules, file)).size, 0) / 1e6
    report('a program for PostgreSQL installs', { packages: packages.length, megabytes, seconds })
    expect(packages.length).toBeLessThanOrEqual(MOST_PACKAGES)
    expect(megabytes).toBeLessThan(MOST_MEGABYTES)
    expect(files.filter((file) => file.endsWith('binding.gyp'))).toEqual([])
  })

  it.each(['22', '24', '26'])('runs on Node %s', async (release) => {
    const project = await install('pg', 'express', 'prom-client')
    const node = ['exec', '--yes', `--package=node@${release}`, '--', 'node']
    for (const file of ['plain.mjs', 'plain.cjs', 'both.mjs'])
      expect(await project.run('npm', [...node, file], environment)).toEqual(WORKS)
    const { output } = await project.run('npm', [...node, '--test', 'node.test.mjs'], environment)
    expect(output).toMatch(/pass 2\b/)
  })

  it('runs on Express 4, and compiles with its types', async () => {
    const project = await install('pg', 'express@4', 'prom-client', '@types/express@4', '@types/node@20')
    expect(await project.node(['plain.mjs'], environment)).toEqual(WORKS)
    expect(await project.node(['typescript/bin/tsc', '-p', '.'])).toEqual({ output: '', failed: false })
  })

  it.each(['5.4', '5.9'])('compiles with TypeScript %s, also by its old resolution', async (release) => {
    const types = ['@types/express', '@types/node'].map(locked)
    const project = await install('pg', 'express', `typescript@${release}`, ...types)
    const tsc = './node_modules/typescript/bin/tsc'
    expect(await project.node([tsc, '-p', '.'])).toEqual({ output: '', failed: false })
    const old = ['--target', 'es2020', '--module', 'commonjs', '--moduleResolution', 'node', '--esModuleInterop']
    expect(await project.node([tsc, '--strict', '--noEmit', ...old, 'typed.ts'])).toEqual({
      output: '',
      failed: false,
    })
  })

  it('finds the hooks of the vitest before', async () => {
    const project = await install('pg', 'vitest@3')
    const vitest = ['./node_modules/vitest/vitest.mjs', 'run', 'vitest.spec.mjs']
    const { output } = await project.node(vitest, environment)
    expect(output).toMatch(/Tests\s+2 passed/)
  })

  it('passes publint and attw', async () => {
    const project = await install('publint@0.3', '@arethetypeswrong/cli@0.18')
    const publint = await project.node(['./node_modules/publint/src/cli.js', '--strict', 'node_modules/millpond'])
    expect(publint.output).toContain('All good!')
    const attw = await project.node(['./node_modules/@arethetypeswrong/cli/dist/index.js', archive])
    expect(attw).toMatchObject({ failed: false, output: expect.stringContaining('No problems found') as string })
  })

  it('is installed by pnpm, which shows each package its own dependencies alone', async () => {
    const project = await Project.install([])
    projects.push(project)
    const pnpm = ['exec', '--yes', '--package=pnpm@10', '--', 'pnpm', 'add', '--prefer-offline', archive]
    const added = await project.run('npm', [...pnpm, 'pg', 'express', 'prom-client', 'sqlite3@6'])
    expect(added).toMatchObject({ failed: false })
    await project.write(FILES)
    expect(await project.node(['plain.mjs'], environment)).toEqual(WORKS)
    const { output } = await project.node(['plain.cjs'], { DATABASE_URL: 'sqlite://' })
    expect(output).toContain('`pnpm approve-builds`')
  })
})
