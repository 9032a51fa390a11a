/** A connection that is being opened and is no longer needed: the attempt is cancelled, and its socket is closed. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Socket } from 'node:net'
import { Database } from '../../../src/database'
import { compiledFolder } from '../../support/compiled'
import { eachDatabase } from '../../support/each-database'
import { report } from '../../support/report'
import { startProxy, type TcpProxy } from '../../support/tcp-proxy'
import { waitFor } from '../../support/wait-for'
import { failure } from '../support'

/** Waits for a connection behind a black hole, disconnects, and has nothing more to do. */
const SCRIPT = (url: string): string => `
  const { Database } = require('./src/database')
  const { once } = require('node:events')
  const database = new Database(${JSON.stringify(url)}, { pool: { size: 2, maxOverflow: 0 } })
  async function main() {
    await database.connect()
    const held = await database.acquire()
    console.log('connected')
    await once(process.stdin, 'data')
    process.stdin.destroy()
    const waiting = database.fetchVal('select 1').catch(() => undefined)
    await database.ping({ timeoutMillis: 50 }).catch(() => undefined)
    await database.disconnect({ graceMillis: 0 })
    await waiting
    console.log('disconnected')
  }
  main()
`

eachDatabase('a connection that is being opened', (context) => {
  if (context.dialect === 'sqlite') {
    // The standing check sees that no connection is left.
    it('to a file is closed by a disconnect() at the same time', async () => {
      const database = context.track(new Database(context.url, { pool: { size: 4, min: 4 } }))
      const connecting = database.connect()
      await database.disconnect({ graceMillis: 0 })
      await Promise.allSettled([connecting])
      expect(database.isConnected).toBe(false)
    })
    return
  }

  let proxy: TcpProxy
  beforeEach(async () => {
    proxy = await startProxy(context.url)
  })
  afterEach(() => proxy.close())

  /** Sockets to the server that keep this process alive: idle ones do not, those that are being opened do. */
  const sockets = (): number => {
    const port = Number(new URL(proxy.url).port)
    // Undocumented, but no packet leaves the black hole to show that a socket was closed.
    const { _getActiveHandles: handles } = process as { _getActiveHandles?: () => unknown[] }
    return (handles?.call(process) ?? []).filter((one) => one instanceof Socket && one.remotePort === port)
      .length
  }
  const openSockets = (count: number): Promise<unknown> =>
    waitFor(() => sockets() === count, { what: `${count} sockets`, timeoutMillis: 2000 })

  it('for a ping is cancelled with the ping', async () => {
    const database = await context.open({}, proxy.url)
    proxy.blackhole()
    const pinging = failure(database.ping({ timeoutMillis: 100 }))
    await openSockets(1)
    await pinging
    await openSockets(0)
    for (let round = 0; round < 10; round += 1) await failure(database.ping({ timeoutMillis: 30 }))
    expect(proxy.accepted).toBeGreaterThan(5)
    await openSockets(0)
    proxy.restore()
    await database.ping()
  })

  it('is cancelled by disconnect(), for whatever it was opened', async () => {
    const pool = { size: 3, maxOverflow: 0, min: 1 }
    const database = await context.open({ pool }, proxy.url)
    const held = await database.acquire()
    proxy.blackhole()
    const waiting = failure(database.fetchVal('select 1'))
    const pinging = failure(database.ping({ timeoutMillis: 10_000 }))
    await waitFor(() => proxy.accepted === 3, { what: 'two others to be connecting' })
    await openSockets(3)
    await database.disconnect({ graceMillis: 0 })
    await openSockets(0)
    await held.release()
    expect((await waiting).message).toMatch(/disconnecting/)
    expect(await pinging).toBeInstanceOf(Error)
  })

  it('is retried after ten seconds, before the acquire timeout, as a fail-over needs', async () => {
    const pool = { size: 1, maxOverflow: 0, acquireTimeoutMillis: 25_000 }
    const database = await context.open({ pool }, proxy.url)
    proxy.cut()
    proxy.blackhole()
    const waiting = database.fetchVal('select 1')
    await openSockets(1)
    // The open links never answer; new ones do.
    for (const link of proxy.links) link.hold('toServer')
    proxy.restore()
    expect(await waiting).toBe(1)
  })

  it('is cancelled when connect() has failed', async () => {
    proxy.blackhole()
    const database = context.track(new Database(proxy.url, { connectTimeoutMillis: 300 }))
    const connecting = failure(database.connect())
    await openSockets(1)
    expect((await connecting).message).toMatch(/the server does not answer/)
    await openSockets(0)
  })

  it('does not keep the process alive after disconnect()', async () => {
    const child = spawn(process.execPath, ['--eval', SCRIPT(proxy.url)], {
      cwd: compiledFolder(),
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
    try {
      await waitFor(() => output.includes('connected'), { what: 'a connection', timeoutMillis: 20_000 })
      proxy.blackhole()
      child.stdin.write('go\n')
      await waitFor(() => output.includes('disconnected'), { what: 'its end', timeoutMillis: 10_000 })
      const started = performance.now()
      if (child.exitCode === null) await once(child, 'exit', { signal: AbortSignal.timeout(8000) })
      report('the end of a process after disconnect()', { millis: performance.now() - started })
      expect(child.exitCode).toBe(0)
    } finally {
      child.kill('SIGKILL')
    }
  })

  it('is cancelled in time when the server stops answering after the login', async () => {
    const pool = { size: 1, maxOverflow: 0, acquireTimeoutMillis: 1500 }
    const database = await context.open({ pool, connectTimeoutMillis: 1500 }, proxy.url)
    // Knex asks a server of which it does not know the version for it, on the first connection.
    const client = database.knex.client as { version: string | undefined }
    client.version = undefined
    const asked = proxy.trap(Buffer.from('select version()'), { act: () => proxy.blackhole('toClient') })
    proxy.cut()
    const error = await failure(database.fetchVal('select 1'))
    await asked
    expect(error.message).toMatch(/does not answer|in time/)
    await openSockets(0)
    proxy.restore()
    await waitFor(async () => (await database.fetchVal('select 1')) === 1, {
      what: 'a connection to be free',
    })
  })
})
