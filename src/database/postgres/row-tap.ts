/**
 * A tap between the socket and pg's parser: passes rows as bytes to the query that runs, and all other messages to pg. It is
 * faster because pg makes an object of every row and a string of every value.
 */
import { EventEmitter } from 'node:events'
import { isStringTooLong } from '../driver/driver-error'

/** A query object that takes rows as bytes. */
export interface RowConsumer {
  /** Takes one row, from `at` to `end`: https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-DATAROW */
  consumeRow(bytes: Buffer, at: number, end: number): void
}

/** The part of pg's Connection that is used here; pg's types leave it out. */
interface Attaching {
  attachListeners?(stream: Source): void
}

interface Source {
  on(event: 'data', listener: (chunk: Buffer) => void): unknown
}

/** Bytes of a message's type (1) and length (4); the length includes its own 4 bytes. */
const HEADER = 5
const DATA_ROW = 68 // D
const READY_FOR_QUERY = 90 // Z

class MessageSplitter {
  /** Takes the rows until the next ReadyForQuery; null: pg does. */
  consumer: RowConsumer | null = null
  readonly #toPg: (bytes: Buffer) => void
  /** The start of a message that has not arrived whole. */
  #chunks: Buffer[] = []
  #bufferedBytes = 0
  /** The length of that message, or of its header while the length is unknown. */
  #neededBytes = HEADER

  constructor(toPg: (bytes: Buffer) => void) {
    this.#toPg = toPg
  }

  receive(chunk: Buffer): void {
    this.#bufferedBytes += chunk.length
    this.#chunks.push(chunk)
    if (this.#bufferedBytes < this.#neededBytes) return
    const bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks)
    let at = 0
    // Advanced before pg is called, so that pg does not get the same bytes twice if one of its listeners throws.
    let forwarded = 0
    const forwardToPg = (): void => {
      const whole = bytes.subarray(forwarded, at)
      forwarded = at
      if (whole.length > 0) this.#toPg(whole)
    }
    this.#neededBytes = HEADER
    try {
      while (at + HEADER <= bytes.length) {
        const next = at + 1 + bytes.readUInt32BE(at + 1)
        if (next > bytes.length) {
          this.#neededBytes = next - at
          break
        }
        const type = bytes[at]
        if (type === DATA_ROW && this.consumer !== null) {
          forwardToPg()
          this.consumer.consumeRow(bytes, at + HEADER, next)
          forwarded = next
        }
        at = next
        if (type === READY_FOR_QUERY) {
          this.consumer = null
          forwardToPg()
        }
      }
      forwardToPg()
    } finally {
      this.#chunks = forwarded === bytes.length ? [] : [bytes.subarray(forwarded)]
      this.#bufferedBytes = bytes.length - forwarded
    }
  }
}

const splitters = new WeakMap<object, MessageSplitter>()

/** Installs the tap on a pg Connection that is not open yet. Does nothing if pg has no `attachListeners`: pg makes the rows then. */
export function installRowTap(connection: object): void {
  const attaching: Attaching = connection
  const attach = attaching.attachListeners?.bind(connection)
  if (attach === undefined) return
  attaching.attachListeners = (stream: Source & { destroy?(error: unknown): void }) => {
    const relay = new EventEmitter()
    const splitter = new MessageSplitter((bytes) => relay.emit('data', bytes))
    splitters.set(connection, splitter)
    attach(relay)
    stream.on('data', (chunk) => {
      try {
        splitter.receive(chunk)
      } catch (error) {
        // Nothing else would catch it, and pg's parser would fail at the same message again with each chunk.
        if (!isStringTooLong(error)) throw error
        stream.destroy?.(error)
      }
    })
  }
}

/** Has the rows of the statement that is sent now go to `consumer`, if the tap is installed. */
export function setRowConsumer(connection: object, consumer: RowConsumer): void {
  const splitter = splitters.get(connection)
  if (splitter !== undefined) splitter.consumer = consumer
}
