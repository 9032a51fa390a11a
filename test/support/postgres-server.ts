/** A throw-away PostgreSQL server: the real one, from an npm package, gone when this process is gone. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chown, lchown, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { freePort } from './free-port'
import { type Identity, type PostgresKit, postgresKit, serverIdentity } from './postgres-programs'

const SETTINGS = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '200',
  shared_buffers: '64MB',
  timezone: 'UTC',
  // The data is not kept, so that durability would only cost time.
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
}

/**
 * The server's keeper. It reads a pipe whose other end this process holds: when this process ends, in whatever
 * way, the pipe closes, the server stops and its files are deleted. The first one keeps a copy of its data folder as it
 * was before the start, from which the others begin, since initdb takes half of the start-up time.
 */
const KEEPER = `
  trap '' INT HUP TERM PIPE
  base=$1 bin=$2 fresh=$3 port=$4; shift 4
  if [ -d "$fresh" ]; then cp -R "$fresh" "$base/data"; else
    "$bin/initdb" -D "$base/data" -U postgres -A trust -E UTF8 --locale=C --no-sync --no-instructions >&2 &&
    cp -R "$base/data" "$base/fresh"
  fi &&
  {
    exec 3<&0
    "$bin/postgres" -D "$base/data" -p "$port" "$@" 3<&- & server=$!
    ( read _ <&3; kill -INT $server ) & watcher=$!
    wait $server
    kill -KILL $watcher
  }
  cd / && rm -rf "$base"
`

/** A running server and the way to stop it. */
export interface PostgresServer {
  /** The superuser's URL of the database `postgres`, without a password. */
  readonly url: string
  /** Where its programs are, and a data folder that no server has used yet. */
  readonly kit: PostgresKit
  stop(): Promise<void>
}

/**
 * Starts a server with an empty data folder on a free port of 127.0.0.1, as `nobody` when this process is root.
 *
 * @param settings PostgreSQL parameters, over those above
 * @throws Error when there is no PostgreSQL for this platform, or when it does not start
 */
export async function startPostgres(settings: Record<string, string> = {}): Promise<PostgresServer> {
  const identity = serverIdentity()
  for (let attempt = 1; ; attempt++) {
    try {
      return await start(identity, { ...SETTINGS, ...settings })
    } catch (error) {
      // Another process may have taken the port between the probe and the start.
      if (attempt === 3 || !String(error).includes('Address already in use')) throw error
    }
  }
}

async function start(identity: Identity, settings: Record<string, string>): Promise<PostgresServer> {
  const base = await mkdtemp(path.join(tmpdir(), 'millpond-postgres-'))
  try {
    return await startIn(base, identity, settings)
  } catch (error) {
    await rm(base, { recursive: true, force: true })
    throw error
  }
}

async function startIn(
  base: string,
  identity: Identity,
  settings: Record<string, string>,
): Promise<PostgresServer> {
  const { programs, fresh } = await postgresKit(base, identity)
  if (identity.uid !== undefined) await giveAway(base, identity.uid, identity.gid)
  const port = await freePort()
  const parameters = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const keeper = spawn('sh', ['-c', KEEPER, 'keeper', base, programs, fresh, String(port), ...parameters], {
    ...identity,
    cwd: base,
    env: { PATH: process.env['PATH'], LC_ALL: 'C' },
    // Its own process group: a Ctrl-C in the terminal is for jest, and the keeper sees jest end.
    detached: true,
    stdio: ['pipe', 'ignore', 'pipe'],
  })
  await readiness(keeper)
  forget(keeper)
  return {
    url: `postgresql://postgres@127.0.0.1:${port}/postgres`,
    kit: { programs, fresh },
    async stop() {
      if (keeper.exitCode !== null) return
      const gone = once(keeper, 'exit')
      keeper.ref()
      keeper.stdin?.end()
      await gone
    },
  }
}

function readiness(keeper: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let log = ''
    // The listener stays after the start, since a pipe that is not read would block the server's log.
    keeper.stderr?.on('data', (chunk: Buffer) => {
      log = (log + chunk.toString()).slice(-20_000)
      if (log.includes('ready to accept connections')) resolve()
    })
    keeper.on('close', () => {
      reject(new Error(`PostgreSQL did not start. It said:\n${log}`))
    })
    keeper.on('error', reject)
  })
}

/** Lets this process end although the keeper and its pipes are open. */
function forget(keeper: ChildProcess): void {
  keeper.unref()
  for (const pipe of [keeper.stdin, keeper.stderr]) {
    // The pipes of a child process are sockets, which their declared type does not say.
    ;(pipe as { unref?: () => void } | null)?.unref?.()
  }
}

async function giveAway(folder: string, uid: number, gid: number): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    await lchown(path.join(entry.parentPath, entry.name), uid, gid)
  }
  await chown(folder, uid, gid)
}
