/** The packed library, installed into a fresh project, in each way in which programs and test runners load it. */
import { rm } from 'node:fs/promises'
import path from 'node:path'
import type { Scratch } from '../support/scratch'
import { scratches } from '../support/each-database'
import { standingCheck } from '../support/standing-check'
import { EXTERNAL, FILES, REQUIRE } from './programs'
import { locked, type Outcome, pack, Project, temporaryFolder } from './project'

const WORKS: Outcome = { output: 'works\n', failed: false }
/** Pinned: what tests install must not change from day to day. */
const VITEST = 'vitest@4.1.12'

// PostgreSQL, where the tests have one: that is the driver which is a package like others.
const [scratch] = scratches(process.env['TEST_DATABASE_URLS'] ?? '').toSorted((a, b) =>
  a.dialect.localeCompare(b.dialect),
) as [Scratch]

describe('the package, installed', () => {
  standingCheck()
  let folder: string
  let project: Project
  let environment: Record<string, string>

  beforeAll(async () => {
    folder = await temporaryFolder()
    const installed = ['pg', 'express', 'prom-client', '@types/express', '@types/node'].map(locked)
    project = await Project.install([await pack(folder), VITEST, ...installed])
    await project.borrow('sqlite3')
    await project.write(FILES)
    environment = { DATABASE_URL: await scratch.create() }
  })
  afterAll(async () => {
    await project.remove()
    await rm(folder, { recursive: true })
    await scratch.dropAll()
  })

  it.each(['plain.mjs', 'plain.cjs', 'both.mjs'])('runs in plain JavaScript: %s', async (file) => {
    expect(await project.node([file], environment)).toEqual(WORKS)
  })

  it('compiles with every declaration checked, with `lib` es2020, and runs as ESM and as CommonJS', async () => {
    expect(await project.node(['typescript/bin/tsc', '-p', '.'])).toEqual({ output: '', failed: false })
    for (const file of ['compiled/typed.mjs', 'compiled/typed.cjs'])
      expect(await project.node([file], environment)).toEqual(WORKS)
  })

  it.each(['typed.mts', 'typed.ts'])('runs by tsx: %s', async (file) => {
    expect(await project.node(['tsx/dist/cli.mjs', file], environment)).toEqual(WORKS)
  })

  it.each([
    ['cjs', 'plain.cjs', []],
    ['esm', 'plain.mjs', [`--banner:js=${REQUIRE}`]],
  ])('runs as one file, bundled as %s out of %s', async (format, file, more) => {
    const bundle = format === 'cjs' ? 'bundle.cjs' : 'bundle.mjs'
    const flags = ['--bundle', '--platform=node', `--format=${format}`, `--outfile=${bundle}`, '--log-level=error']
    const external = EXTERNAL.map((name) => `--external:${name}`)
    const built = await project.node(['esbuild/bin/esbuild', file, ...flags, ...external, ...more])
    expect(built).toEqual({ output: '', failed: false })
    const lone = await project.moveOut(bundle)
    // SQLite's driver is never in a bundle.
    if (scratch.dialect === 'sqlite') environment['NODE_PATH'] = path.join(project.folder, 'node_modules')
    expect(await project.node([lone], environment)).toEqual(WORKS)
    await rm(path.dirname(lone), { recursive: true })
  })

  it.each([
    ['node:test', ['--test', 'node.test.mjs'], /pass 2\b/],
    ['node:test, run as a program', ['node.test.mjs'], /pass 2\b/],
    ['hooks that are given', ['--test', 'given.test.mjs'], /pass 2\b/],
    ['jest', ['jest/bin/jest.js', '--rootDir', '.', '--testRegex', 'jest.test.js'], /Tests:\s+2 passed/],
    ['vitest', ['./node_modules/vitest/vitest.mjs', 'run', 'vitest.spec.mjs'], /Tests\s+2 passed/],
  ])('rolls tests back by %s', async (_runner, args, passed) => {
    const { output, failed } = await project.node(args, environment)
    expect(output).toMatch(passed)
    expect(failed).toBe(false)
  })

  it('says what the monitor lacks, where prom-client is not installed', async () => {
    await rm(path.join(project.folder, 'node_modules', 'prom-client'), { recursive: true })
    const { output } = await project.node(['plain.mjs'], environment)
    expect(output).toContain('ConfigurationError: The metrics of the monitor need prom-client')
  })
})
