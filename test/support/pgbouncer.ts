/** PgBouncer itself, where it is installed (Debian's package `pgbouncer`), in transaction mode. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { freePort } from './free-port'
import { serverIdentity } from './postgres-programs'
import { waitFor } from './wait-for'

const program = (() => {
  try {
    return execFileSync('sh', ['-c', 'PATH=$PATH:/usr/sbin command -v pgbouncer'], {
      encoding: 'utf8',
    }).trim()
  } catch {
    return null
  }
})()

/** Starts one in front of a server that asks for no password. `processes`: how many of the server it lends. */
export async function startPgBouncer(
  targetUrl: string,
  processes = 2,
): Promise<AsyncDisposable & { readonly url: string; readonly hasDied: boolean }> {
  if (program === null) throw new Error('PgBouncer is not installed')
  const target = new URL(targetUrl)
  const port = await freePort()
  const folder = mkdtempSync(path.join(tmpdir(), 'millpond-pgbouncer-'))
  const settings = path.join(folder, 'pgbouncer.ini')
  writeFileSync(
    settings,
    `[databases]
* = host=127.0.0.1 port=${target.port} user=${target.username}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = ${processes}
ignore_startup_parameters = extra_float_digits
`,
  )
  // It refuses to run as root.
  const identity = serverIdentity()
  if (identity.uid !== undefined)
    for (const file of [folder, settings]) chownSync(file, identity.uid, identity.gid)
  const child = spawn(program, [settings], { ...identity, stdio: ['ignore', 'ignore', 'pipe'] })
  const ended = once(child, 'exit')
  let log = ''
  child.stderr.on('data', (chunk: Buffer) => (log += chunk.toString()))
  const isListening = (): Promise<boolean> =>
    new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.destroy()
        resolve(true)
      })
      socket.on('error', () => resolve(false))
    })
  await waitFor(async () => {
    if (child.exitCode !== null) throw new Error(log)
    return isListening()
  })
  const url = new URL(target)
  url.hostname = '127.0.0.1'
  url.port = String(port)
  return {
    url: url.href,
    get hasDied() {
      return child.exitCode !== null || child.signalCode !== null
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
      rmSync(folder, { recursive: true })
    },
  }
}

startPgBouncer.isMissing = program === null
