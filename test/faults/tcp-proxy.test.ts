/** The TCP proxy of the fault tests: it forwards everything, and fails exactly as asked. */
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { freePort } from '../support/free-port'
import { standingCheck } from '../support/standing-check'
import { startProxy, type TcpProxy } from '../support/tcp-proxy'
import { waitFor } from '../support/wait-for'

/** One end of a connection, with all bytes that it has received. */
interface End {
  readonly socket: Socket
  heard: string
  isEnded: boolean
  isClosed: boolean
}

function listen(socket: Socket): End {
  const end: End = { socket, heard: '', isEnded: false, isClosed: false }
  socket.setEncoding('latin1')
  socket.on('data', (text) => (end.heard += String(text)))
  socket.on('end', () => (end.isEnded = true))
  socket.on('close', () => (end.isClosed = true))
  socket.on('error', () => undefined)
  return end
}

describe('the TCP proxy', () => {
  let server: Server
  let proxy: TcpProxy
  let served: End[] = []
  let ends: End[] = []

  beforeEach(async () => {
    served = []
    ends = []
    server = createServer({ allowHalfOpen: true }, (socket) => served.push(listen(socket)))
    const port = await freePort()
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    proxy = await startProxy(`postgresql://user:secret@127.0.0.1:${port}/d`)
  })
  afterEach(async () => {
    for (const { socket } of [...ends, ...served]) socket.destroy()
    await proxy.close()
    server.close()
    await once(server, 'close')
  })
  standingCheck()

  /** Opens a connection through the proxy, and returns both of its ends. */
  const open = async (): Promise<{ client: End; remote: End }> => {
    const { hostname: host, port } = new URL(proxy.url)
    const count = served.length
    const client = listen(connect({ host, port: Number(port), allowHalfOpen: true }))
    ends.push(client)
    const remote = await waitFor(() => served[count])
    return { client, remote }
  }
  const hears = (end: End, text: string): Promise<unknown> =>
    waitFor(() => end.heard === text, { what: `'${text}', heard '${end.heard}'` })

  it('forwards every byte and the ends of both sides, under the same URL with its own port', async () => {
    expect(proxy.url).toMatch(/^postgresql:\/\/user:secret@127\.0\.0\.1:\d+\/d$/)
    const { client, remote } = await open()
    const long = 'x'.repeat(3_000_000)
    client.socket.write(long)
    client.socket.end('end')
    await waitFor(() => remote.isEnded)
    expect(remote.heard).toBe(`${long}end`)
    remote.socket.end('answer')
    await waitFor(() => client.isEnded)
    expect(client.heard).toBe('answer')
    await waitFor(() => proxy.connections === 0)
    expect(proxy.accepted).toBe(1)
  })

  it('forwards a connection reset', async () => {
    const { client, remote } = await open()
    client.socket.resetAndDestroy()
    await waitFor(() => remote.isEnded || remote.isClosed)
    await waitFor(() => proxy.connections === 0)
    expect(proxy.accepted).toBe(1)
  })

  it('cuts every connection, or one side of each', async () => {
    const whole = await open()
    proxy.cut()
    await waitFor(() => whole.client.isEnded && whole.remote.isEnded)
    const half = await open()
    proxy.cut('client')
    await waitFor(() => half.client.isEnded)
    half.remote.socket.write('nobody hears this')
    expect(half.remote.isEnded).toBe(false)
  })

  it('refuses new connections and accepts them again on the same port', async () => {
    const { client, remote } = await open()
    const { url } = proxy
    proxy.refuse()
    const refused = connect({ host: '127.0.0.1', port: Number(new URL(url).port) })
    const [error] = (await once(refused, 'error')) as [NodeJS.ErrnoException]
    expect(error.code).toBe('ECONNREFUSED')
    client.socket.write('still here')
    await hears(remote, 'still here')
    // A listener keeps its port until its connections are closed.
    await proxy.accept()
    expect(proxy.url).toBe(url)
    const again = await open()
    again.client.socket.write('again')
    await hears(again.remote, 'again')
  })

  it('holds all traffic in one direction or in both, and delivers it afterwards', async () => {
    const { client, remote } = await open()
    proxy.blackhole('toServer')
    client.socket.write('question')
    remote.socket.write('answer')
    await hears(client, 'answer')
    expect(remote.heard).toBe('')
    proxy.blackhole()
    remote.socket.write(', more')
    client.socket.write(', more')
    proxy.restore()
    await hears(remote, 'question, more')
    await hears(client, 'answer, more')
  })

  it('closes one half of a connection', async () => {
    const { client, remote } = await open()
    proxy.halfClose('toServer')
    await waitFor(() => remote.isEnded)
    client.socket.write('nobody hears this')
    remote.socket.write('but this')
    await hears(client, 'but this')
    expect([client.isEnded, remote.heard]).toEqual([false, ''])
  })

  it('delays traffic', async () => {
    const { client, remote } = await open()
    proxy.delay(50)
    const started = performance.now()
    client.socket.write('late')
    await hears(remote, 'late')
    expect(performance.now() - started).toBeGreaterThan(45)
  })

  it('cuts after a number of bytes', async () => {
    const { client, remote } = await open()
    client.socket.write('12345')
    await hears(remote, '12345')
    proxy.cutAfterBytes('toServer', 7)
    client.socket.write('6789')
    await hears(remote, '123456789')
    client.socket.write('abcdef')
    await waitFor(() => remote.isEnded && client.isEnded)
    expect(remote.heard).toBe('123456789abc')
  })

  it('cuts in the middle of a pattern, after it, and in the middle of its answer', async () => {
    const pattern = Buffer.from('COMMIT')
    for (const passing of [0, 1, 5, 6]) {
      const { client, remote } = await open()
      const sprung = proxy.trap(pattern, { passing })
      client.socket.write('abcCOMMITdef')
      await sprung
      await waitFor(() => remote.isEnded && client.isEnded)
      expect(remote.heard).toBe('abcCOMMIT'.slice(0, 3 + passing))
    }
    for (const answered of [0, 1, 5, 6]) {
      const { client, remote } = await open()
      const sprung = proxy.trap(pattern, { answered })
      client.socket.write('abcCOMMITdef')
      await hears(remote, 'abcCOMMITdef')
      expect([client.isEnded, remote.isEnded]).toEqual([false, false])
      remote.socket.write('answer')
      await sprung
      await waitFor(() => client.isEnded)
      expect(client.heard).toBe('answer'.slice(0, answered))
    }
  })

  it('runs a function at a pattern, and forwards what follows', async () => {
    const { client, remote } = await open()
    const order: string[] = []
    const sprung = proxy.trap(Buffer.from('two'), {
      passing: 0,
      act: async () => {
        await hears(remote, 'one ')
        order.push('sprung')
      },
    })
    client.socket.write('one two three')
    await sprung
    await hears(remote, 'one two three')
    expect(order).toEqual(['sprung'])
  })
})
