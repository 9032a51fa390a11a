/** Errors as answers: RFC 9457 problem details, which tell the client what it can use and nothing about the inside. */
import { STATUS_CODES } from 'node:http'
import type { ErrorRequestHandler, Request, RequestHandler, Response } from 'express'
import {
  CheckViolationError,
  CommitUnknownError,
  ConnectionError,
  ConstraintViolationError,
  type DatabaseError,
  databaseErrorOf,
  ForeignKeyViolationError,
  NotConnectedError,
  NotNullViolationError,
  PoolTimeoutError,
  QueryCanceledError,
  QueryTimeoutError,
  SerializationError,
  TransactionClosedError,
  UniqueViolationError,
} from '../database'
import { startAgain } from './buffered-response'
import { type FieldError, HttpProblem } from './http-problem'

export interface ProblemsOptions {
  /** Told of each error that is answered with a status of 500 or more. Default: console.error. */
  readonly onError?: (error: unknown, request: Request) => void
}

/**
 * Answers any error as `application/problem+json`, with the status that fits its class. Mount it last.
 *
 * An HttpProblem is answered as it says. Of every other error only the kind is told: no SQL, no value, no name of a
 * host or a file, and no stack. Those are for `onError`.
 *
 * @example
 * app.use(problems({ onError: (error) => logger.error(error) }))
 */
export function problems(options: ProblemsOptions = {}): ErrorRequestHandler {
  const { onError = toConsole } = options
  // Express tells an error handler by its four parameters.
  return (error: unknown, request, response, _next) => {
    const isGone = response.destroyed || request.socket.destroyed
    if (isGone && isOfItsLeaving(error, request)) return
    const problem = toProblem(error)
    if (problem.status >= 500) onError(error, request)
    if (isGone || response.writableEnded) return
    startAgain(response)
    // Half an answer is out. Only a broken connection tells the client that the rest will not come.
    if (response.headersSent) response.destroy()
    else send(problem, response)
  }
}

/** Whether an error came up because the client left, and so is no failure of ours. */
function isOfItsLeaving(error: unknown, request: Request): boolean {
  return (
    error instanceof QueryCanceledError ||
    error instanceof TransactionClosedError ||
    // Whoever was reading the body got this.
    (error !== null && error === request.errored)
  )
}

/** Answers what no route has answered: 404. Mount it after the routes, before `problems`. */
export function notFound(): RequestHandler {
  return () => {
    throw new HttpProblem(404, 'There is nothing at this address.')
  }
}

/**
 * Answers a method that an address does not have: 405 with `Allow`, and OPTIONS with the same list.
 *
 * @example
 * app.route('/users').get(list).post(create).all(methodNotAllowed('GET', 'POST'))
 */
export function methodNotAllowed(...methods: readonly string[]): RequestHandler {
  const allow = [...methods, ...(methods.includes('GET') ? ['HEAD'] : []), 'OPTIONS'].join(', ')
  return (request, response) => {
    if (request.method !== 'OPTIONS') {
      throw new HttpProblem(405, `This address allows ${allow}.`, { headers: { Allow: allow } })
    }
    response.status(204).set('Allow', allow).end()
  }
}

/** Nobody has said where failures go, and they must not go nowhere. */
function toConsole(error: unknown): void {
  // oxlint-disable-next-line no-console
  console.error(error)
}

/** They would speak of the answer that is not given. */
const OF_THE_ANSWER = [
  'Content-Disposition',
  'Content-Encoding',
  'Content-Language',
  'Content-Range',
  'ETag',
  'Last-Modified',
  'Link',
  'Location',
  'Trailer',
]

function send(problem: HttpProblem, response: Response): void {
  for (const name of OF_THE_ANSWER) response.removeHeader(name)
  response.statusMessage = ''
  response
    .status(problem.status)
    .set({ 'Cache-Control': 'no-store', ...problem.headers })
    .type('application/problem+json')
    .json(problem)
}

const RETRY = { 'Retry-After': '1' }
const UNEXPECTED = 'The server failed to answer this request. The failure was logged.'

type DatabaseProblem = readonly [kind: abstract new (...args: never[]) => DatabaseError, problem: HttpProblem]

/** The first class that an error belongs to decides. */
const DATABASE_PROBLEMS: readonly DatabaseProblem[] = [
  [UniqueViolationError, new HttpProblem(409, 'This exists already.')],
  [
    ForeignKeyViolationError,
    new HttpProblem(409, 'This refers to something that does not exist, or is still in use.'),
  ],
  [NotNullViolationError, new HttpProblem(422, 'A required value is missing.')],
  [CheckViolationError, new HttpProblem(422, 'A value is outside of what is allowed.')],
  [ConstraintViolationError, new HttpProblem(409, 'This does not fit what exists already.')],
  [PoolTimeoutError, new HttpProblem(503, 'The service is busy. Try again in a moment.', { headers: RETRY })],
  [
    ConnectionError,
    new HttpProblem(503, 'The service has lost its database. Try again in a moment.', { headers: RETRY }),
  ],
  [
    NotConnectedError,
    new HttpProblem(503, 'The service is not connected to its database. Try again in a moment.', {
      headers: RETRY,
    }),
  ],
  [SerializationError, new HttpProblem(503, 'Others changed the same data. Try again.', { headers: RETRY })],
  [
    CommitUnknownError,
    new HttpProblem(
      500,
      'The database was lost at the last moment: this may have been done. Look before you try again.',
    ),
  ],
  [QueryTimeoutError, new HttpProblem(504, 'The database did not answer in time.')],
  [
    QueryCanceledError,
    new HttpProblem(503, 'The request was cancelled. Try again in a moment.', { headers: RETRY }),
  ],
]

function toProblem(error: unknown): HttpProblem {
  if (error instanceof HttpProblem) return error
  const ofDatabase = databaseErrorOf(error)
  if (ofDatabase !== null) {
    const found = DATABASE_PROBLEMS.find(([kind]) => ofDatabase instanceof kind)
    return found?.[1] ?? new HttpProblem(500, UNEXPECTED)
  }
  return toHttpProblem(error) ?? new HttpProblem(500, UNEXPECTED)
}

/** What the errors of body-parser have: those of http-errors, with a `type` that says what went wrong. */
interface HttpError {
  readonly status: number
  readonly type?: string
  readonly limit?: number
}

/** Reads the errors of Express itself and of its body parsers. Their messages quote the request, so ours are told. */
function toHttpProblem(error: unknown): HttpProblem | null {
  if (!isHttpError(error)) return null
  const detail = { 400: badRequest, 413: tooLarge, 415: unsupported }[error.status] ?? plain
  return new HttpProblem(error.status, detail(error))
}

function isHttpError(error: unknown): error is HttpError & Error {
  if (!(error instanceof Error)) return false
  const { status } = error as { status?: unknown }
  return typeof status === 'number' && Number.isInteger(status) && status >= 400 && status <= 599
}

function badRequest(error: HttpError & Error): string {
  if (error.type === 'entity.parse.failed') {
    const [, position] = / at position (\d+)/.exec(error.message) ?? []
    return `The body is not valid JSON${position === undefined ? '' : ` (from character ${Number(position) + 1})`}.`
  }
  if (error.type === 'request.aborted' || error.type === 'request.size.invalid') {
    return 'The body is not as long as its Content-Length says.'
  }
  return error instanceof URIError
    ? 'The address is not valid: a % in it starts no percent-code.'
    : plain(error)
}

function tooLarge(error: HttpError): string {
  return error.limit === undefined
    ? 'The body is too large.'
    : `The body is larger than ${error.limit} bytes.`
}

function unsupported(error: HttpError): string {
  if (error.type === 'charset.unsupported') return 'The charset of the body is not supported. Send UTF-8.'
  if (error.type === 'encoding.unsupported') return 'The Content-Encoding of the body is not supported.'
  return 'The type of the body is not supported.'
}

function plain(error: HttpError): string {
  return error.status >= 500 ? UNEXPECTED : `${STATUS_CODES[error.status] ?? 'Bad Request'}.`
}

export type { FieldError }
