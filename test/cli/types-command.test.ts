/** `millpond types` as a process: its options, its exit codes, and what it says. */
import { execFile, execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Database } from '../../src/database'
import { compiledFolder } from '../support/compiled'
import { eachDatabase } from '../support/each-database'
import { freePort } from '../support/free-port'
import { standingCheck } from '../support/standing-check'
import { compilerErrors } from './compiler-errors'

const root = path.resolve(__dirname, '..', '..')

interface Outcome {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

let folder: string
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'millpond-cli-'))
})
afterAll(() => {
  rmSync(folder, { recursive: true })
})

/** Runs the command in a folder of its own, with no other environment. */
function millpond(args: readonly string[], environment: Record<string, string> = {}): Promise<Outcome> {
  const main = path.join(compiledFolder(), 'src', 'cli', 'main.js')
  return new Promise((resolve) => {
    const options = { cwd: folder, env: environment }
    execFile(process.execPath, [main, ...args], options, (error, stdout, stderr) => {
      resolve({ exitCode: error === null ? 0 : Number(error.code), stdout, stderr })
    })
  })
}

const fileIn = (name: string): string => path.join(folder, name)

/** Runs statements on a database, whose file there may not be yet. */
async function make(url: string, ...statements: readonly string[]): Promise<void> {
  await using database = new Database(url)
  await database.connect()
  for (const sql of statements) await database.execute(sql)
}

const USERS = 'create table users (id integer primary key, name text not null, nick text)'

eachDatabase('millpond types', (context) => {
  beforeAll(() =>
    make(
      context.url,
      USERS,
      'create table events (at timestamp not null, payload json not null, n bigint not null)',
      'create table knex_migrations_main (id integer)',
      'create table audit_log (id integer)',
      'create table audit_more (id integer)',
    ),
  )

  it('writes to the standard output, or to a file, of which it says how many tables are in it', async () => {
    const written = await millpond(['types'], { DATABASE_URL: context.url })
    expect(written).toMatchObject({ exitCode: 0, stderr: '' })
    expect(written.stdout).toContain(`  users: Knex.CompositeTableType<
    {
      id: number
      name: string
      nick: string | null
    },
    {
      id${context.dialect === 'sqlite' ? '?' : ''}: number
      name: string
      nick?: string | null
    }
  >
}
`)
    const file = fileIn(`${context.dialect}.ts`)
    const toFile = await millpond(['types', '--url', context.url, '--out', file])
    expect(toFile).toEqual({ exitCode: 0, stdout: '', stderr: `${file}: 4 tables\n` })
    expect(readFileSync(file, 'utf8')).toBe(written.stdout)
  })

  it('takes DATABASE_URL from .env, and rather from the environment', async () => {
    writeFileSync(fileIn('.env'), `DATABASE_URL=${context.url}\n`)
    expect((await millpond(['types'])).stdout).toContain('  users: ')
    expect(await millpond(['types'], { DATABASE_URL: 'sqlite:///nowhere.db' })).toMatchObject({ exitCode: 2 })
    rmSync(fileIn('.env'))
  })

  it('leaves out the tables of Knex, and those that are excluded', async () => {
    const { stdout } = await millpond([
      'types',
      '--url',
      context.url,
      '--exclude',
      'audit_*',
      '--exclude',
      'event',
    ])
    expect([...stdout.matchAll(/^ {2}(\S+): Knex/gm)].map(([, name]) => name)).toEqual(['events', 'users'])
  })

  it('checks that a file is up to date, changes nothing, and says what differs', async () => {
    const file = fileIn(`checked-${context.dialect}.ts`)
    const args = ['types', '--url', context.url, '--out', file]
    expect(await millpond([...args, '--check'])).toMatchObject({
      exitCode: 1,
      stdout: expect.stringContaining('does not exist') as string,
    })
    expect(existsSync(file)).toBe(false)
    await millpond(args)
    const written = readFileSync(file, 'utf8')
    writeFileSync(file, written.replaceAll('\n', '\r\n'))
    expect(await millpond([...args, '--check'])).toEqual({ exitCode: 0, stdout: '', stderr: '' })

    const old = written.replaceAll('      name: string\n', '      name: string | null\n')
    writeFileSync(file, old)
    expect(await millpond([...args, '--check'])).toEqual({
      exitCode: 1,
      stdout:
        `${file} is out of date. Run the same command without --check.\n` +
        '  users\n- name: string | null\n+ name: string\n',
      stderr: '',
    })
    expect(readFileSync(file, 'utf8')).toBe(old)
  })

  it('gives a column the type that is asked for, and lets json() be written to it', async () => {
    const type = '{ kind: string } | string[]'
    const { stdout } = await millpond(['types', '--url', context.url, '--type', `events.payload=${type}`])
    const use = `import { json } from 'millpond'
import type { NewRow, Row } from './tables'
declare const row: Row<'events'>
export const payload: { kind: string } | string[] = row.payload
export const event: NewRow<'events'> = { at: new Date(), payload: json(['a']), n: 1n }
// @ts-expect-error -- of another form
export const other: NewRow<'events'> = { at: new Date(), payload: { king: 'a' }, n: 1n }
`
    expect(compilerErrors({ 'tables.ts': stdout, 'use.ts': use })).toBe('')
  })

  it('leaves out what Knex cannot address, and says so', async () => {
    const url = await context.createDatabase()
    await make(url, ...['"a.b"', '"a as b"', 'c'].map((name) => `create table ${name} (id integer)`))
    const { exitCode, stdout, stderr } = await millpond(['types', '--url', url])
    expect([exitCode, stdout.match(/Knex\.Composite/g)?.length]).toEqual([0, 1])
    expect(stderr).toBe(
      'Left out "a as b": Knex cannot address a table of this name.\n' +
        'Left out "a.b": Knex cannot address a table of this name.\n',
    )
  })

  it('writes an interface without members for an empty database', async () => {
    const url = await context.createDatabase()
    await make(url)
    const { exitCode, stdout } = await millpond(['types', '--url', url])
    expect(exitCode).toBe(0)
    expect(compilerErrors({ 'tables.ts': stdout, 'use.ts': "export type { Tables } from './tables'" })).toBe(
      '',
    )
  })

  it('writes the same for the same tables, in whatever order they were made', async () => {
    const [one, other] = [await context.createDatabase(), await context.createDatabase()]
    await make(one, 'create table a (x integer, y text)', 'create table b (z integer)')
    await make(other, 'create table b (z integer)', 'create table a (y text, x integer)')
    const [first, second] = await Promise.all([one, other].map((url) => millpond(['types', '--url', url])))
    expect(first?.stdout).toBe(second?.stdout)
  })

  it('writes for several databases what holds for each of them, and says what only some have', async () => {
    const other = await context.createDatabase()
    await make(other, 'create table users (id text, name text, nick text, age integer)')
    const { stdout, stderr } = await millpond(['types', '--url', context.url, '--url', other])
    expect(stdout).toContain(`
export interface Tables {
  users: Knex.CompositeTableType<
    {
      id: number | string | null
      name: string | null
      nick: string | null
    },
    {
      id${context.dialect === 'sqlite' ? '?' : ''}: number | string | null
      name: string | null
      nick?: string | null
    }
  >
}
`)
    expect(stderr).toContain('Left out "users.age": not every database has it.\n')
    expect(stderr).toContain('Left out "events": not every database has it.\n')
    expect(stderr).not.toContain('knex_migrations')
  })

  it('writes what prettier leaves alone, whatever its settings are', async () => {
    const file = fileIn('formatted.ts')
    await millpond(['types', '--url', context.url, '--out', file])
    for (const settings of [[], ['--no-semi', '--single-quote'], ['--print-width=30', '--use-tabs']]) {
      const prettier = [
        path.join(root, 'node_modules/prettier/bin/prettier.cjs'),
        '--no-config',
        '--check',
        file,
      ]
      expect(execFileSync(process.execPath, [...prettier, ...settings]).toString()).toContain('All matched')
    }
  })
})

eachDatabase('millpond types, of a database with parts of its own,', (context) => {
  it('reads the schemas that are asked for, and names the tables of others than the search path by them', async () => {
    if (context.dialect === 'sqlite') return
    await make(
      context.url,
      'create schema own',
      'create table own.a (x integer)',
      'create table b (y integer)',
    )
    const names = async (...schemas: string[]): Promise<(string | undefined)[]> => {
      const args = schemas.flatMap((schema) => ['--schema', schema])
      const { stdout } = await millpond(['types', '--url', context.url, ...args])
      return [...stdout.matchAll(/^ {2}(\S+): Knex/gm)].map(([, name]) => name)
    }
    expect(await names()).toEqual(['b'])
    expect(await names('own')).toEqual(["'own.a'"])
    expect(await names('own', 'public')).toEqual(['b', "'own.a'"])
    expect(await millpond(['types', '--url', context.url, '--schema', 'nowhere'])).toMatchObject({
      exitCode: 2,
      stderr: 'millpond: There is no schema "nowhere".\n',
    })
  })

  it('says that a view is broken, and that others cannot be written', async () => {
    const url = await context.createDatabase()
    await make(
      url,
      'create table t (x integer not null)',
      'create view shown as select x, count(*) as n from t group by x',
      ...(context.dialect === 'sqlite' ? ['create view broken as select x from nowhere'] : []),
    )
    const { stdout, stderr } = await millpond(['types', '--url', url])
    expect(stderr).toBe(
      context.dialect === 'sqlite'
        ? 'Left out "broken": no such table: main.nowhere. Is the name right, and was the migration run that makes it?\n'
        : '',
    )
    const n = context.dialect === 'sqlite' ? 'Buffer | number | string | null' : 'string | null'
    expect(stdout).toContain(`  shown: Knex.CompositeTableType<
    {
      n: ${n}
      x: number | null
    },
    never
  >
`)
  })
})

describe('millpond', () => {
  standingCheck()

  it.each<[string, string[], RegExp]>([
    ['no database', ['types'], /^millpond: Which database\? Give its --url, or set DATABASE_URL\.$/m],
    ['an option that there is not', ['types', '--ouch'], /^millpond: Unknown option '--ouch'/],
    ['a command that there is not', ['tables'], /^millpond: There is no command 'tables'\.$/m],
    ['--check without a file', ['types', '--url', 'sqlite://', '--check'], /--out <file>/],
    [
      'a type without a column',
      ['types', '--url', 'sqlite://', '--type', 'x'],
      /<table>\.<column>=<type>, not "x"/,
    ],
    ['a type of no column', ['types', '--url', 'sqlite://', '--type', 'a.b=C'], /there is no column a\.b/],
    [
      'a file that there is not',
      ['types', '--url', 'sqlite:///nowhere.db'],
      /There is no file nowhere\.db\.$/m,
    ],
    ['a schema of SQLite', ['types', '--url', 'sqlite://', '--schema', 'main'], /SQLite has no schemas/],
    ['a URL that is none', ['types', '--url', 'mysql://x/y'], /^millpond: .*mysql/],
  ])('refuses %s, and exits with 2', async (_what, args, message) => {
    const { exitCode, stdout, stderr } = await millpond(args)
    expect([exitCode, stdout]).toEqual([2, ''])
    expect(stderr).toMatch(message)
    expect(stderr).not.toMatch(/^ {4}at /m)
    expect(existsSync(fileIn('nowhere.db'))).toBe(false)
  })

  it('says why a server cannot be reached, and does not show the password', async () => {
    const url = `postgresql://me:secret@127.0.0.1:${await freePort()}/x`
    const { exitCode, stderr } = await millpond(['types', '--url', url])
    expect(exitCode).toBe(2)
    expect(stderr).toContain('ECONNREFUSED')
    expect(stderr).not.toContain('secret')
  })

  it('tells about itself, and is what package.json installs', async () => {
    expect(await millpond([])).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining('types') as string,
    })
    const help = await millpond(['types', '--help'])
    expect(help.exitCode).toBe(0)
    for (const option of ['--url', '--out', '--check', '--schema', '--exclude', '--type'])
      expect(help.stdout).toContain(option)
    const { bin } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
      bin: { millpond: string }
    }
    const source = path.join(root, bin.millpond.replace(/^dist\//, '').replace(/\.js$/, '.ts'))
    expect(readFileSync(source, 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/)
  })
})
