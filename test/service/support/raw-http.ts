/** Raw HTTP: sends bytes that no client library would send, and parses the responses. */
import { connect } from 'node:net'

export interface RawAnswer {
  readonly status: number
  /** By their names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export interface Exchange {
  readonly answers: readonly RawAnswer[]
  readonly durationMillis: number
}

interface Expected {
  /** The method of each request, because a response to HEAD has no body. */
  readonly methods: readonly string[]
  /** Called when all is sent; when it resolves, no more responses are awaited. Default: all responses are awaited. */
  readonly enough?: (() => Promise<void>) | undefined
  readonly boundMillis: number
}

/** Sends bytes over a connection of their own, and resolves to the received ones after all responses or the end. */
export async function exchange(port: number, bytes: Buffer, expected: Expected): Promise<Exchange> {
  const { methods, enough, boundMillis } = expected
  const since = performance.now()
  const socket = connect(port, '127.0.0.1')
  const answers: RawAnswer[] = []
  let rest: Buffer = Buffer.alloc(0)
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(resolve, boundMillis)
    socket.on('data', (chunk: Buffer) => {
      try {
        rest = takeAnswers(Buffer.concat([rest, chunk]), methods, answers)
        if (answers.length >= methods.length) resolve()
      } catch (error) {
        reject(error instanceof Error ? error : new Error(String(error)))
      }
    })
    // A server that refuses before it has read everything resets the connection.
    socket.on('error', () => undefined)
    socket.on('close', () => {
      clearTimeout(timer)
      resolve()
    })
    socket.once('connect', () => {
      socket.write(bytes, () => void enough?.().then(resolve, reject))
    })
  })
  const durationMillis = performance.now() - since
  socket.destroy()
  return { answers, durationMillis }
}

const NO_CHUNKS = '0\r\n\r\n'

/** Takes the complete responses from the front, without 100 Continue, and returns the rest. */
function takeAnswers(bytes: Buffer, methods: readonly string[], answers: RawAnswer[]): Buffer {
  let rest = bytes
  for (;;) {
    const end = rest.indexOf('\r\n\r\n')
    if (end < 0) return rest
    const [first = '', ...lines] = rest.subarray(0, end).toString('latin1').split('\r\n')
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(first)?.[1])
    if (Number.isNaN(status)) throw new Error(`Not an answer: ${first}`)
    if (status < 200) {
      rest = rest.subarray(end + 4)
      continue
    }
    const headers = Object.fromEntries(
      lines.map((line) => [
        line.slice(0, line.indexOf(':')).toLowerCase(),
        line.slice(line.indexOf(':') + 1).trim(),
      ]),
    )
    const hasBody = methods[answers.length] !== 'HEAD' && status !== 204 && status !== 304
    const isChunked = headers['transfer-encoding'] === 'chunked'
    // Only the last chunk occurs: Node refuses an Expect header so, and no other response is chunked.
    const length = !hasBody ? 0 : isChunked ? NO_CHUNKS.length : Number(headers['content-length'] ?? 0)
    if (rest.length < end + 4 + length) return rest
    const body = rest.subarray(end + 4, end + 4 + length).toString()
    answers.push({ status, headers, body: isChunked && body === NO_CHUNKS ? '' : body })
    rest = rest.subarray(end + 4 + length)
  }
}
