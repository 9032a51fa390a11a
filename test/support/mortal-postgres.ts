/** A throw-away PostgreSQL that a test can kill, freeze and start again, and that ends with this process. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { freePort } from './free-port'
import { type Identity, postgresKit, serverIdentity } from './postgres-programs'

const SETTINGS = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '100',
  shared_buffers: '32MB',
  timezone: 'UTC',
  // The operating system survives, and keeps everything that the server has written.
  fsync: 'off',
  full_page_writes: 'off',
  synchronous_commit: 'on',
}

const START_PATIENCE_MILLIS = 20_000
const POLL_MILLIS = 3

/**
 * The server's keeper: its parent, so that a process id never means another process. It takes commands
 * from a pipe whose other end this process holds, and answers each by the postmaster's id. When the pipe closes, it
 * kills the server, stopped or not, and deletes its files.
 *
 * The postmaster is stopped before its children are looked up, or it would start others meanwhile.
 */
const KEEPER = `
  trap '' INT HUP TERM PIPE
  base=$1 bin=$2 fresh=$3 port=$4; shift 4
  exec 3<&0 </dev/null 4>&2 2>/dev/null
  server= family=
  children() {
    cat "/proc/$server/task/$server/children" ||
      ps -A -o ppid= -o pid= | awk -v server="$server" '$1 == server { print $2 }'
  }
  stop_all() {
    kill -STOP $server
    family="$server $(children)"
    kill -STOP $family
  }
  is_running() {
    kill -0 $1 && ! grep -qs '^State:.Z' "/proc/$1/status"
  }
  kill_all() {
    [ -n "$server" ] || return 0
    stop_all
    kill -KILL $family
    wait $server
    for each in $family; do while is_running $each; do sleep 0.01; done; done
    server=
  }
  if [ -d "$fresh" ]; then cp -R "$fresh" "$base/data"; else
    "$bin/initdb" -D "$base/data" -U postgres -A trust -E UTF8 --locale=C --no-sync --no-instructions
  fi >"$base/log" 2>&1 || {
    cat "$base/log" >&4
    exec 3</dev/null
  }
  while read -r command <&3; do
    case $command in
      start) "$bin/postgres" -D "$base/data" -p "$port" "$@" 3<&- 4>&- >>"$base/log" 2>&1 & server=$! ;;
      kill) kill_all ;;
      freeze) stop_all ;;
      thaw) kill -CONT $family ;;
    esac
    echo "$server"
  done
  kill_all
  cd / && rm -rf "$base"
`

/** A PostgreSQL that a test can kill. */
export interface MortalPostgres {
  /** The superuser's URL of the database `postgres`, without a password; the same after each start. */
  readonly url: string
  /** SIGKILL to the postmaster and all of its children. Resolves when they are gone. */
  kill(): Promise<void>
  /** SIGSTOP to all of them: their sockets stay open, and do not answer. */
  freeze(): Promise<void>
  /** SIGCONT to all that were frozen. */
  thaw(): Promise<void>
  /**
   * Starts it again after {@link kill}, on the same port and data.
   *
   * @returns the moment in which it began to accept connections, on the clock of performance.now()
   */
  start(): Promise<number>
  /** Ends it, frozen or not, and deletes its files. */
  stop(): Promise<void>
}

/**
 * Starts a server with an empty data folder on a free port of 127.0.0.1, as `nobody` when this process is root.
 *
 * @param settings PostgreSQL parameters, over those above
 * @throws Error when there is no PostgreSQL for this platform, or when it does not start
 */
export async function startMortalPostgres(settings: Record<string, string> = {}): Promise<MortalPostgres> {
  const identity = serverIdentity()
  for (let attempt = 1; ; attempt += 1) {
    const server = await settled(identity, { ...SETTINGS, ...settings })
    try {
      await server.start()
      return server
    } catch (error) {
      await server.stop()
      // Another process may have taken the port between the probe and the start.
      if (attempt === 3 || !String(error).includes('Address already in use')) throw error
    }
  }
}

async function settled(identity: Identity, settings: Record<string, string>): Promise<KeptPostgres> {
  const base = await mkdtemp(path.join(tmpdir(), 'millpond-mortal-'))
  try {
    const { programs, fresh } = await postgresKit(base, identity)
    if (identity.uid !== undefined) {
      await promisify(execFile)('chown', ['-Rh', `${identity.uid}:${identity.gid}`, base])
    }
    const port = await freePort()
    const parameters = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
    const keeper = spawn('sh', ['-c', KEEPER, 'keeper', base, programs, fresh, String(port), ...parameters], {
      ...identity,
      cwd: base,
      env: { PATH: process.env['PATH'], LC_ALL: 'C' },
      // Its own process group: a Ctrl-C in the terminal is for the tests, and the keeper sees them end.
      detached: true,
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    return new KeptPostgres(keeper, base, port)
  } catch (error) {
    await rm(base, { recursive: true, force: true })
    throw error
  }
}

class KeptPostgres implements MortalPostgres {
  readonly url: string
  readonly #keeper: ChildProcess
  readonly #base: string
  readonly #answers: ((processId: string) => void)[] = []
  readonly #ended: Promise<unknown>

  constructor(keeper: ChildProcess, base: string, port: number) {
    this.url = `postgresql://postgres@127.0.0.1:${port}/postgres`
    this.#keeper = keeper
    this.#base = base
    this.#ended = once(keeper, 'close')
    // Writing to a dead keeper is noticed by the missing answer.
    keeper.stdin?.on('error', () => undefined)
    if (keeper.stdout) {
      createInterface(keeper.stdout).on('line', (processId) => this.#answers.shift()?.(processId))
    }
    this.#hold(false)
  }

  async kill(): Promise<void> {
    await this.#tell('kill')
  }

  async freeze(): Promise<void> {
    await this.#tell('freeze')
  }

  async thaw(): Promise<void> {
    await this.#tell('thaw')
  }

  async start(): Promise<number> {
    const processId = await this.#tell('start')
    const deadline = performance.now() + START_PATIENCE_MILLIS
    while (!(await this.#accepts(processId))) {
      const log = await readFile(path.join(this.#base, 'log'), 'utf8')
      if (performance.now() > deadline || log.includes('database system is shut down')) {
        throw new Error(`PostgreSQL did not start. It said:\n${log}`)
      }
      await delay(POLL_MILLIS)
    }
    return performance.now()
  }

  async stop(): Promise<void> {
    this.#hold(true)
    this.#keeper.stdin?.end()
    await this.#ended
  }

  /** As pg_ctl knows it: the last line of the postmaster's lock file, which one that was killed leaves behind. */
  async #accepts(processId: string): Promise<boolean> {
    const lock = await readFile(path.join(this.#base, 'data', 'postmaster.pid'), 'utf8').catch(() => '')
    const lines = lock.split('\n')
    return lines[0] === processId && lines[7]?.trim() === 'ready'
  }

  async #tell(command: string): Promise<string> {
    this.#hold(true)
    try {
      const answer = new Promise<string>((resolve) => this.#answers.push(resolve))
      this.#keeper.stdin?.write(`${command}\n`)
      const gone = this.#ended.then(async () => {
        const log = await readFile(path.join(this.#base, 'log'), 'utf8').catch(String)
        throw new Error(`PostgreSQL ended. It said:\n${log}`)
      })
      return await Promise.race([answer, gone])
    } finally {
      this.#hold(false)
    }
  }

  /** Lets this process end although the keeper and its pipes are open, but not while it waits for an answer. */
  #hold(isHeld: boolean): void {
    // The pipes of a child process are sockets, which their declared type does not say.
    const parts = [this.#keeper, this.#keeper.stdin as Socket | null, this.#keeper.stdout as Socket | null]
    for (const part of parts) {
      if (isHeld) part?.ref()
      else part?.unref()
    }
  }
}
