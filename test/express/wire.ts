/** A connection by hand: all that came on it, and how it ended. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { Serving } from '../../src/express'
import { waitFor } from '../support/wait-for'

export const GET = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'

export class Wire {
  readonly socket: Socket
  text = ''
  error: NodeJS.ErrnoException | null = null

  constructor({ port }: Serving) {
    this.socket = connect(port, '127.0.0.1')
    this.socket.on('data', (data: Buffer) => (this.text += data.toString()))
    this.socket.on('error', (error) => (this.error = error))
  }

  /** Statuses of all answers that came. */
  get statuses(): string[] {
    return [...this.text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status = '']) => status)
  }

  get ended(): Promise<unknown> {
    return this.socket.closed ? Promise.resolve() : once(this.socket, 'close')
  }

  /** Sends a request, and resolves when so many answers have come as were asked for until now. */
  async ask(text = GET): Promise<void> {
    const before = this.statuses.length
    this.socket.write(text)
    await waitFor(() => this.statuses.length > before)
  }
}
