/** A small TCP proxy in front of a server, which fails on command: cuts, black holes, half-closes, latency. */
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { freePort } from './free-port'
import { type Direction, type Faults, ProxyLink, type Side, type Trap } from './tcp-proxy-link'

export type { Direction, ProxyLink, Side }

/** Where a trap is, and what it does; see {@link TcpProxy.trap}. */
export interface TrapOptions {
  /** Which way the pattern goes. Default: to the server. */
  readonly direction?: Direction
  /** How many bytes of the pattern still pass. Default: all of it. */
  readonly passing?: number
  /** Instead: the pattern passes whole, and then as many bytes of the answer. 0 waits for the answer, and keeps it. */
  readonly answered?: number
  /** What is done then; afterwards the connection goes on, if it is still there. Default: both sides are cut. */
  readonly act?: (link: ProxyLink) => unknown
}

/**
 * Starts a proxy on a free port of 127.0.0.1.
 *
 * @example
 * const proxy = await startProxy(context.url)
 * const database = await context.open({}, proxy.url)
 * proxy.cut()
 * await proxy.close()
 */
export async function startProxy(targetUrl: string): Promise<TcpProxy> {
  const proxy = new TcpProxy(new URL(targetUrl))
  await proxy.accept()
  return proxy
}

export class TcpProxy {
  readonly #target: URL
  readonly #links = new Set<ProxyLink>()
  readonly #faults: Faults = {
    delayMillis: 0,
    isHole: { toServer: false, toClient: false },
    traps: new Set(),
  }
  #server: Server | null = null
  #port = 0
  #accepted = 0

  constructor(target: URL) {
    this.#target = target
  }

  /** The target's URL, leading through the proxy. */
  get url(): string {
    const url = new URL(this.#target)
    url.hostname = '127.0.0.1'
    url.port = String(this.#port)
    return url.href
  }

  /** Connections that are open now. */
  get connections(): number {
    return this.#links.size
  }

  /** Those connections, for a fault that hits only some. */
  get links(): readonly ProxyLink[] {
    return [...this.#links]
  }

  /** Connections that were ever accepted. */
  get accepted(): number {
    return this.#accepted
  }

  /** Connections are accepted again after {@link refuse}, on the same port. */
  async accept(): Promise<void> {
    if (this.#server !== null) return
    for (let attempt = 1; ; attempt += 1) {
      const port = this.#port === 0 ? await freePort() : this.#port
      const target = { host: this.#target.hostname, port: Number(this.#target.port || 5432) }
      const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
        this.#accepted += 1
        const link = new ProxyLink(client, target, this.#faults, () => this.#links.delete(link))
        this.#links.add(link)
      })
      try {
        server.listen(port, '127.0.0.1')
        await once(server, 'listening')
        this.#server = server
        this.#port = port
        return
      } catch (error) {
        // Another process may have taken the port since it was found free.
        if (this.#port !== 0 || attempt === 5) throw error
      }
    }
  }

  /** New connections are refused; those that are open stay. */
  refuse(): void {
    this.#server?.close()
    this.#server = null
  }

  /** Cuts every connection, on both sides or on one: the other side's peer then knows nothing of it. */
  cut(side: Side = 'both'): void {
    for (const link of this.#links) link.cut(side)
  }

  /** Forwards nothing, in one direction or in both, and keeps connections open; new ones as well. */
  blackhole(direction?: Direction): void {
    this.#setHole(direction, true)
  }

  /** Ends the black hole: what was held back arrives. */
  restore(): void {
    this.#setHole(undefined, false)
  }

  /** Sends an end to the peer in that direction and passes nothing more on to it. */
  halfClose(direction: Direction): void {
    for (const link of this.#links) link.halfClose(direction)
  }

  /** From now on everything arrives that much later, in both directions. */
  delay(millis: number): void {
    this.#faults.delayMillis = millis
  }

  /** Cuts each connection that is open when so many more bytes have passed on it in that direction. */
  cutAfterBytes(direction: Direction, count: number): void {
    for (const link of this.#links) link.cutAfterBytes(direction, count)
  }

  /**
   * Sets a trap for a pattern, which springs once, on the first connection that the pattern passes. The pattern is
   * searched in each received chunk, since a database client sends a message as one.
   *
   * @returns a promise for the moment in which the trap has sprung and what it does is done
   * @example
   * const sprung = proxy.trap(COMMIT, { answered: 0 })     // committed, but the client never hears of it
   */
  trap(pattern: Buffer, options: TrapOptions = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      const trap: Trap = {
        pattern,
        direction: options.direction ?? 'toServer',
        passing: options.answered === undefined ? (options.passing ?? pattern.length) : pattern.length,
        answered: options.answered,
        spring: async (link) => {
          try {
            await (options.act ?? (() => link.cut('both')))(link)
            resolve()
          } catch (error) {
            reject(error instanceof Error ? error : new Error(String(error)))
          }
        },
      }
      this.#faults.traps.add(trap)
    })
  }

  /** Takes up the traps that have not sprung. */
  disarm(): void {
    this.#faults.traps.clear()
  }

  async close(): Promise<void> {
    const server = this.#server
    this.refuse()
    this.cut()
    if (server?.listening === true) await once(server, 'close')
  }

  #setHole(direction: Direction | undefined, isHole: boolean): void {
    for (const one of ['toServer', 'toClient'] as const) {
      if (direction === undefined || direction === one) this.#faults.isHole[one] = isHole
    }
    for (const link of this.#links) link.update()
  }
}
