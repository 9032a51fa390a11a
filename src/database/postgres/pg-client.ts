/** The members of pg that its types leave out, the private ones among them, as they are in pg 8.23. */
import type { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import pg from 'pg'
import type { Session } from '../driver/session'

/** pg's Client. */
export interface RawConnection extends Omit<pg.Client, 'ssl' | 'connection' | 'query'> {
  /** Set by Knex when the connection reports an error or its end. */
  __knex__disposed?: Error | string
  readyForQuery: boolean
  readonly processID: number
  readonly secretKey: number | Buffer
  readonly ssl: boolean | object
  readonly connection: PgConnection
  readonly query: pg.Client['query'] & ((query: QueryObject) => void)
  getTransactionStatus(): 'I' | 'T' | 'E' | null
  ref(): void
  unref(): void
}

/** pg's Connection, which writes the messages of the protocol: https://www.postgresql.org/docs/current/protocol-message-formats.html */
export interface PgConnection extends EventEmitter, AttachingConnection {
  readonly stream: Socket
  parsedStatements: Record<string, string>
  query(text: string): void
  parse(message: { readonly name: string; readonly text: string }): void
  /** Sends buffers in binary, and all other values as text. */
  bind(message: { readonly statement: string; readonly values: readonly (string | Buffer | null)[] }): void
  /** P: a portal, which is what the protocol calls a cursor. */
  describe(message: { readonly type: 'P'; readonly name: string }): void
  execute(message: { readonly portal: string; readonly rows: number }): void
  /** S: a statement. */
  close(message: { readonly type: 'S'; readonly name: string }): void
  sync(): void
  sendCopyFromChunk(chunk: Buffer): void
  endCopyFrom(): void
}

/** The private member of pg's Connection that connects its parser with the socket. */
export interface AttachingConnection {
  attachListeners(stream: EventEmitter): void
}

/** A query object that pg's Client runs in its turn: it hands the server's answers to further methods of this one. */
export interface QueryObject {
  /** The statement, which instrumentations of pg read, such as OpenTelemetry's: they patch `Client.prototype.query`. */
  readonly text: string
  /** Not undefined: they would run a copy of the object, with a comment in its text and without its methods. */
  readonly name: null
  submit(connection: PgConnection): null
  handleError(error: Error, connection: unknown): void
}

/** pg's function that writes a value as text, or returns bytes as they are. */
export const { prepareValue } = (
  pg as unknown as { utils: { prepareValue(this: void, value: unknown): string | Buffer | null } }
).utils

/** Private members of pg's Client: its queue, which holds our queries and those that the caller sends. */
interface QueueMembers {
  readonly _activeQuery: QueryObject | null | undefined
  readonly _queryQueue: QueryObject[]
  _pulseQueryQueue(): void
}

function queueOf(raw: RawConnection): QueueMembers {
  return raw as unknown as QueueMembers
}

/** Returns the query that pg runs now. */
export function activeQuery(raw: RawConnection): QueryObject | null {
  return queueOf(raw)._activeQuery ?? null
}

/** Returns the query that pg was given last, which runs or is the last in the queue. */
export function lastSubmitted(raw: RawConnection): QueryObject | null {
  return queueOf(raw)._queryQueue.at(-1) ?? activeQuery(raw)
}

/** Removes a query from the queue and fails it with `error`. Returns false if the query has been sent already. */
export function withdraw(raw: RawConnection, query: QueryObject | null, error: Error): boolean {
  const { _queryQueue: queue } = queueOf(raw)
  const place = query === null ? -1 : queue.indexOf(query)
  if (query === null || place < 0) return false
  queue.splice(place, 1)
  query.handleError(error, raw.connection)
  return true
}

/** Stops pg from sending queued queries. Returns a function that lets pg send them again. */
export function pauseQueue(raw: RawConnection): () => void {
  const queue = queueOf(raw)
  queue._pulseQueryQueue = () => undefined
  return () => {
    Reflect.deleteProperty(queue, '_pulseQueryQueue')
    queue._pulseQueryQueue()
  }
}

/** How long the server may take to answer, or to close a connection. */
export const ANSWER_TIMEOUT_MILLIS = 2000

interface DestroyableSession extends Pick<Session, 'broken' | 'destroy'> {
  readonly raw: RawConnection
}

/** Waits for an answer, and destroys the session if it does not come in time. */
export async function withAnswerTimeout(
  session: DestroyableSession,
  answer: Promise<unknown>,
): Promise<void> {
  const timer = setTimeout(() => {
    session.destroy()
  }, ANSWER_TIMEOUT_MILLIS)
  try {
    await answer
  } finally {
    clearTimeout(timer)
  }
}

/** Waits for ReadyForQuery: pg reports an error before it, and the transaction's status is known only after it. */
export async function waitForReady(session: DestroyableSession): Promise<void> {
  const { raw } = session
  if (raw.readyForQuery || session.broken !== null) return
  await new Promise<void>((resolve) => {
    const end = (): void => {
      clearTimeout(timer)
      raw.connection.off('readyForQuery', end)
      raw.off('end', end)
      resolve()
    }
    const timer = setTimeout(() => {
      session.destroy()
      end()
    }, ANSWER_TIMEOUT_MILLIS)
    raw.connection.on('readyForQuery', end)
    raw.on('end', end)
  })
}
