/** What comes from PostgreSQL, in whole messages: rows go to who asked for their bytes, and everything else to pg. */
import { EventEmitter } from 'node:events'
import { isStringTooLong } from '../driver/driver-error'

/** pg makes an object of every row, and a text of every value, before anybody is asked what he makes of it. */
export interface RowTaker {
  /** One row, from `at` up to `end`: https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-DATAROW */
  takeRow(bytes: Buffer, at: number, end: number): void
}

/** The part of pg's connection that is used here; its types leave it out. */
interface Attaching {
  attachListeners?(stream: Source): void
}

interface Source {
  on(event: 'data', listener: (chunk: Buffer) => void): unknown
}

/** A type and a length, which counts itself. */
const HEADER = 5
const DATA_ROW = 68 // D
const READY_FOR_QUERY = 90 // Z

class Incoming {
  /** Who has the rows until the server is ready for the next statement. */
  taker: RowTaker | null = null
  readonly #toPg: (bytes: Buffer) => void
  /** The beginning of a message whose end has not come yet. */
  #parts: Buffer[] = []
  #held = 0
  /** How long that message is, as far as it is known. */
  #needed = HEADER

  constructor(toPg: (bytes: Buffer) => void) {
    this.#toPg = toPg
  }

  receive(chunk: Buffer): void {
    this.#held += chunk.length
    this.#parts.push(chunk)
    if (this.#held < this.#needed) return
    const bytes = this.#parts.length === 1 ? chunk : Buffer.concat(this.#parts)
    let at = 0
    // What pg has been given it is not given again, should a listener of its throw.
    let given = 0
    const give = (): void => {
      const whole = bytes.subarray(given, at)
      given = at
      if (whole.length > 0) this.#toPg(whole)
    }
    this.#needed = HEADER
    try {
      while (at + HEADER <= bytes.length) {
        const next = at + 1 + bytes.readUInt32BE(at + 1)
        if (next > bytes.length) {
          this.#needed = next - at
          break
        }
        const type = bytes[at]
        if (type === DATA_ROW && this.taker !== null) {
          give()
          this.taker.takeRow(bytes, at + HEADER, next)
          given = next
        }
        at = next
        if (type === READY_FOR_QUERY) {
          this.taker = null
          give()
        }
      }
      give()
    } finally {
      this.#parts = given === bytes.length ? [] : [bytes.subarray(given)]
      this.#held = bytes.length - given
    }
  }
}

const incoming = new WeakMap<object, Incoming>()

/** Gets between a connection that is not open yet and the parser of pg. Without that, pg makes the rows, which takes longer. */
export function divertRows(connection: object): void {
  const attaching: Attaching = connection
  const attach = attaching.attachListeners?.bind(connection)
  if (attach === undefined) return
  attaching.attachListeners = (stream: Source & { destroy?(error: unknown): void }) => {
    const relay = new EventEmitter()
    const own = new Incoming((bytes) => relay.emit('data', bytes))
    incoming.set(connection, own)
    attach(relay)
    stream.on('data', (chunk) => {
      try {
        own.receive(chunk)
      } catch (error) {
        // Nobody else would catch it. pg's parser reads the same message anew with all that comes, and gets no further.
        if (!isStringTooLong(error)) throw error
        stream.destroy?.(error)
      }
    })
  }
}

/** Has the rows of the statement that is sent now taken past pg, if that is possible. */
export function takeRows(connection: object, taker: RowTaker): void {
  const own = incoming.get(connection)
  if (own !== undefined) own.taker = taker
}
