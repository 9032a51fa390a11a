/**
 * A load generator: a number of clients, each with one connection, each sending its next request when it has the
 * answer. It writes ready-made bytes and looks into an answer no further than to find its end, so that it costs less
 * than any server it is pointed at.
 */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** Time for the connections and queues to fill, before which nothing is counted. */
const LEAD_MILLIS = 200

/** Long enough for an answer of 50 posts in one piece. */
const BUFFER_BYTES = 256 * 1024

const END_OF_HEAD = '\r\n\r\n'
const LENGTH = 'ength: '

export interface Load {
  readonly port: number
  readonly concurrency: number
  readonly millis: number
  /** Makes the next request, whole. */
  readonly next: () => Buffer
}

export interface Answered {
  readonly seconds: number
  readonly answers: number
  /** Those that were not 2xx. */
  readonly failures: number
  /** Sorted. */
  readonly latencies: Float64Array
}

/** Loads a server, and tells of each measured moment: `began` after the lead, `ended` before the clients stop. */
export async function load(
  { port, concurrency, millis, next }: Load,
  began: () => void = () => {},
  ended: () => void = () => {},
): Promise<Answered> {
  const clients = Array.from({ length: concurrency }, () => new Client(port, next))
  await Promise.all(clients.map((client) => client.connected()))
  for (const client of clients) client.send()
  await sleep(Math.min(LEAD_MILLIS, millis / 4))

  for (const client of clients) client.forget()
  began()
  const since = performance.now()
  await sleep(millis)
  const seconds = (performance.now() - since) / 1000
  ended()
  const latencies = Float64Array.from(clients.flatMap((client) => client.latencies)).toSorted()
  const failures = clients.reduce((total, client) => total + client.failures, 0)
  await Promise.all(clients.map((client) => client.stop()))
  return { seconds, answers: latencies.length, failures, latencies }
}

class Client {
  latencies: number[] = []
  failures = 0
  readonly #socket: Socket
  readonly #next: () => Buffer
  readonly #buffer = Buffer.allocUnsafe(BUFFER_BYTES)
  #received = 0
  #since = 0
  #whenIdle: (() => void) | null = null

  constructor(port: number, next: () => Buffer) {
    this.#next = next
    const onread = {
      buffer: Buffer.allocUnsafe(BUFFER_BYTES),
      callback: (bytes: number, buffer: Uint8Array) => this.#take(buffer.subarray(0, bytes)),
    }
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true, onread })
    // A server that hangs up is a mistake of the benchmark: it must not pass for a slow one.
    this.#socket.on('close', () => {
      if (this.#whenIdle === null) throw new Error(`the server on port ${port} closed a connection`)
    })
  }

  async connected(): Promise<void> {
    await once(this.#socket, 'connect')
  }

  send(): void {
    this.#received = 0
    this.#since = performance.now()
    this.#socket.write(this.#next())
  }

  forget(): void {
    this.latencies = []
    this.failures = 0
  }

  /** Waits for the answer that is under way, and hangs up. */
  async stop(): Promise<void> {
    await new Promise<void>((resolve) => (this.#whenIdle = resolve))
    this.#socket.destroy()
  }

  #take(chunk: Uint8Array): boolean {
    this.#buffer.set(chunk, this.#received)
    this.#received += chunk.length
    if (!this.#isWhole()) return true
    this.latencies.push(performance.now() - this.#since)
    // `HTTP/1.1 200`: the digit after the space.
    if (this.#buffer[9] !== 0x32) this.failures += 1
    if (this.#whenIdle === null) this.send()
    else this.#whenIdle()
    return true
  }

  #isWhole(): boolean {
    const answer = this.#buffer.subarray(0, this.#received)
    const end = answer.indexOf(END_OF_HEAD)
    if (end === -1) return false
    const at = answer.indexOf(LENGTH)
    if (at === -1 || at > end) throw new Error('an answer without Content-Length')
    let length = 0
    for (let index = at + LENGTH.length; isDigit(answer[index]); index += 1) {
      length = length * 10 + Number(answer[index]) - 0x30
    }
    return this.#received >= end + END_OF_HEAD.length + length
  }
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39
}
