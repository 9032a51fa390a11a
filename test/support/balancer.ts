/** A small load balancer: polls the readiness of each server, and forwards requests to ready ones. It never retries. */
import { once } from 'node:events'
import {
  Agent,
  createServer,
  get,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from 'node:http'
import { freePort } from './free-port'

/** Failed polls in a row that take a server out, as in HAProxy, since one slow response says little. */
const FALL = 3
/** A poll that takes longer fails. */
const ASK_TIMEOUT_MILLIS = 1000

interface Backend {
  readonly url: string
  readonly agent: Agent
  /** The next poll begins after the response, so that one slow response counts once. */
  isAsked: boolean
  /** Failed polls in a row. */
  refusals: number
  /** The last response, for error messages. */
  said: string
}

/** `await using` closes it. */
export class Balancer implements AsyncDisposable {
  readonly #server: Server
  readonly #pollMillis: number
  #backends: Backend[] = []
  #turn = 0
  #polling: NodeJS.Timeout | undefined

  private constructor(pollMillis: number) {
    this.#pollMillis = pollMillis
    this.#server = createServer((incoming, outgoing) => this.#pass(incoming, outgoing))
    // The balancer never closes an idle connection while a client sends a request on it.
    this.#server.keepAliveTimeout = 60_000
  }

  static async start(pollMillis: number): Promise<Balancer> {
    const balancer = new Balancer(pollMillis)
    balancer.#server.listen(await freePort(), '127.0.0.1')
    await once(balancer.#server, 'listening')
    balancer.#poll()
    return balancer
  }

  get url(): string {
    const { port } = this.#server.address() as { port: number }
    return `http://127.0.0.1:${port}`
  }

  /** How many servers would get a request now. */
  get ready(): number {
    return this.#backends.filter(({ refusals }) => refusals < FALL).length
  }

  /** The last response of each server, for error messages. */
  get states(): string[] {
    return this.#backends.map(
      ({ url, said, refusals }) => `${url} says ${said}, no ${refusals} times in a row`,
    )
  }

  add(url: string): void {
    this.#backends.push({
      url,
      agent: new Agent({ keepAlive: true }),
      isAsked: false,
      refusals: FALL,
      said: 'nothing',
    })
  }

  /** Forgets a server that is gone. */
  remove(url: string): void {
    for (const { agent } of this.#backends.filter((one) => one.url === url)) agent.destroy()
    this.#backends = this.#backends.filter((one) => one.url !== url)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#polling)
    for (const { agent } of this.#backends) agent.destroy()
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeAllConnections()
    await closed
  }

  #poll(): void {
    for (const backend of this.#backends) {
      if (!backend.isAsked) ask(backend)
    }
    this.#polling = setTimeout(() => this.#poll(), this.#pollMillis)
  }

  #pass(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const ready = this.#backends.filter(({ refusals }) => refusals < FALL)
    const backend = ready[this.#turn++ % ready.length]
    if (backend === undefined) {
      const why = this.#backends.map(({ said }) => said).join(' and ')
      outgoing.writeHead(503, `Nobody is ready: ${why}`).end()
      return
    }
    const { connection, ...headers } = incoming.headers
    // A client's Connection: close is forwarded.
    const agent = connection === 'close' ? false : backend.agent
    const passed = request(
      `${backend.url}${incoming.url}`,
      { method: incoming.method, headers, agent },
      (answer) => {
        const { connection: _, 'keep-alive': __, ...rest } = answer.headers
        outgoing.writeHead(answer.statusCode ?? 502, rest)
        answer.on('error', () => outgoing.destroy())
        answer.pipe(outgoing)
      },
    )
    passed.on('error', (error: NodeJS.ErrnoException) => {
      if (outgoing.headersSent) outgoing.destroy()
      else outgoing.writeHead(502, `${backend.url}: ${error.code ?? error.message}`).end()
    })
    incoming.pipe(passed)
  }
}

function ask(backend: Backend): void {
  backend.isAsked = true
  const asked = get(`${backend.url}/readyz`, { agent: false, timeout: ASK_TIMEOUT_MILLIS }, (answer) => {
    backend.refusals = answer.statusCode === 200 ? 0 : backend.refusals + 1
    backend.said = String(answer.statusCode)
    answer.resume()
  })
  asked.on('timeout', () => asked.destroy())
  asked.on('error', (error: NodeJS.ErrnoException) => {
    backend.refusals += 1
    backend.said = error.code ?? error.message
  })
  asked.on('close', () => (backend.isAsked = false))
}
