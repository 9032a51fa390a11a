/** One connection through the TCP proxy: two sockets, and the traffic between them. */
import { connect, type Socket } from 'node:net'

export type Direction = 'toServer' | 'toClient'
export type Side = 'client' | 'server' | 'both'

/** The faults that apply to all connections of the proxy. */
export interface Faults {
  delayMillis: number
  readonly isHole: Record<Direction, boolean>
  readonly traps: Set<Trap>
}

export interface Trap {
  readonly pattern: Buffer
  readonly direction: Direction
  /** Bytes of the pattern that still pass. */
  readonly passing: number
  /** Bytes of the answer that still pass, if it is the answer that is trapped. */
  readonly answered: number | undefined
  spring(link: ProxyLink): Promise<void>
}

/** Bytes that may wait in the proxy for their time to pass. */
const MOST_WAITING = 1 << 20

export class ProxyLink {
  readonly #lanes: Record<Direction, Lane>
  readonly #sockets: readonly Socket[]

  constructor(client: Socket, target: { host: string; port: number }, faults: Faults, onClose: () => void) {
    const server = connect({ ...target, allowHalfOpen: true })
    this.#sockets = [client, server]
    this.#lanes = {
      toServer: new Lane('toServer', client, server, faults, this),
      toClient: new Lane('toClient', server, client, faults, this),
    }
    let open = 2
    for (const socket of this.#sockets) {
      socket.setNoDelay(true)
      // A fault causes an error on the socket, which is intended.
      socket.on('error', () => undefined)
      socket.once('close', () => {
        open -= 1
        if (open === 0) onClose()
      })
    }
    server.once('error', () => {
      client.destroy()
    })
  }

  /** Cuts the connection. A side that is left open receives nothing more, as when a cable is pulled. */
  cut(side: Side): void {
    const [client, server] = this.#sockets
    if (side !== 'server') client?.destroy()
    if (side !== 'client') server?.destroy()
  }

  halfClose(direction: Direction): void {
    this.#lanes[direction].end()
  }

  /** A permanent black hole for this connection only. */
  hold(direction: Direction): void {
    this.#lanes[direction].hold()
  }

  cutAfterBytes(direction: Direction, count: number): void {
    this.#lanes[direction].cutAfter(count, () => this.cut('both'))
  }

  /** Has the lane of the answer stop after so many bytes. */
  trapAnswer(question: Direction, trap: Trap, count: number): void {
    const answer = this.#lanes[question === 'toServer' ? 'toClient' : 'toServer']
    answer.cutAfter(count, () => trap.spring(this), count === 0)
  }

  update(): void {
    this.#lanes.toServer.update()
    this.#lanes.toClient.update()
  }
}

interface Limit {
  left: number
  /** Whether it is reached only when something more arrives. */
  readonly waits: boolean
  readonly reached: () => unknown
}

/** One direction: what arrives from `source` goes to `target`, in order. */
class Lane {
  readonly #direction: Direction
  readonly #source: Socket
  readonly #target: Socket
  readonly #faults: Faults
  readonly #link: ProxyLink
  #tail: Promise<unknown> = Promise.resolve()
  #waiting = 0
  #limit: Limit | null = null
  #isHeld = false

  constructor(direction: Direction, source: Socket, target: Socket, faults: Faults, link: ProxyLink) {
    this.#direction = direction
    this.#source = source
    this.#target = target
    this.#faults = faults
    this.#link = link
    source.on('data', (chunk: Buffer) => {
      this.#queue(chunk)
    })
    source.once('end', () => {
      this.#tail = this.#tail.then(() => target.end())
    })
    source.once('close', (hadError) => {
      // In a black hole the end of the other side is not forwarded.
      if (hadError && !this.#isHole) this.#tail = this.#tail.then(() => target.destroy())
    })
    this.update()
  }

  /** Held traffic stays in the kernel's buffer, so that it arrives when the black hole ends. */
  update(): void {
    if (this.#isHole || this.#waiting > MOST_WAITING) this.#source.pause()
    else this.#source.resume()
  }

  end(): void {
    this.#target.end()
    this.#source.removeAllListeners('data')
    this.#source.resume()
  }

  hold(): void {
    this.#isHeld = true
    this.update()
  }

  cutAfter(left: number, reached: () => unknown, waits = false): void {
    this.#limit = { left, reached, waits }
    if (left === 0 && !waits) this.#tail = this.#tail.then(() => this.#reach())
  }

  #queue(chunk: Buffer): void {
    const due = performance.now() + this.#faults.delayMillis
    this.#waiting += chunk.length
    this.update()
    this.#tail = this.#tail.then(async () => {
      const early = due - performance.now()
      if (early > 0) await new Promise((resolve) => setTimeout(resolve, early))
      await this.#pass(chunk)
      this.#waiting -= chunk.length
      this.update()
    })
  }

  async #pass(chunk: Buffer): Promise<void> {
    if (this.#limit !== null && chunk.length >= this.#limit.left) {
      const { left } = this.#limit
      await this.#write(chunk.subarray(0, left))
      await this.#reach()
      await this.#pass(chunk.subarray(left))
      return
    }
    for (const trap of this.#faults.traps) {
      const at = trap.direction === this.#direction ? chunk.indexOf(trap.pattern) : -1
      if (at < 0) continue
      this.#faults.traps.delete(trap)
      if (trap.answered !== undefined) {
        this.#link.trapAnswer(this.#direction, trap, trap.answered)
        break
      }
      await this.#write(chunk.subarray(0, at + trap.passing))
      await trap.spring(this.#link)
      await this.#pass(chunk.subarray(at + trap.passing))
      return
    }
    await this.#write(chunk)
    if (this.#limit !== null) this.#limit.left -= chunk.length
  }

  get #isHole(): boolean {
    return this.#isHeld || this.#faults.isHole[this.#direction]
  }

  async #reach(): Promise<void> {
    const limit = this.#limit
    this.#limit = null
    await limit?.reached()
  }

  /** Resolves when the kernel has it: what is cut after that has still been sent. */
  async #write(bytes: Buffer): Promise<void> {
    // What it has already taken is lost as well.
    if (this.#isHeld) await new Promise(() => undefined)
    if (bytes.length === 0 || !this.#target.writable) return
    await new Promise<void>((resolve) => {
      this.#target.write(bytes, () => {
        resolve()
      })
    })
  }
}
