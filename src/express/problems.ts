/** Answers errors with RFC 9457 problem details, which tell the client what it can use and nothing about the inside. */
import { STATUS_CODES } from 'node:http'
import type { ErrorRequestHandler, Request, RequestHandler, Response } from 'express'
import {
  CheckViolationError,
  CommitUnknownError,
  ConnectionError,
  ConstraintViolationError,
  CursorError,
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
import { discardPartialAnswer } from './buffered-response'
import { type FieldError, HttpProblem } from './http-problem'

export interface ProblemsOptions {
  /** Called for each error that is answered with a status of 500 or more. Default: console.error. */
  readonly onError?: (error: unknown, request: Request) => void
}

/**
 * Answers any error as `application/problem+json`, with the status that fits its class. Mount it last.
 *
 * An HttpProblem decides its answer. For every other error the answer says only of what kind it is: no SQL, no value, no
 * name of a host or a file, and no stack. Those are for `onError`.
 *
 * @example
 * app.use(problems({ onError: (error) => logger.error(error) }))
 */
export function problems(options: ProblemsOptions = {}): ErrorRequestHandler {
  const { onError = logToConsole } = options
  // Express recognises an error handler by its four parameters.
  return (error: unknown, request, response, _next) => {
    const isGone = response.destroyed || request.socket.destroyed
    if (isGone && isCausedByClientLeaving(error, request)) return
    const problem = toProblem(error)
    if (problem.status >= 500) onError(error, request)
    if (isGone || response.writableEnded) return
    discardPartialAnswer(response)
    // A part of an answer is sent already: only a broken connection tells the client that the rest will not come.
    if (response.headersSent) response.destroy()
    else send(problem, response)
  }
}

/** Returns whether an error arose because the client left, so that it is not a failure of the application. */
function isCausedByClientLeaving(error: unknown, request: Request): boolean {
  return (
    error instanceof QueryCanceledError ||
    error instanceof TransactionClosedError ||
    // The error that the reader of the body gets.
    (error !== null && error === request.errored)
  )
}

/** Answers 404 to requests that no route has answered. Mount it after the routes, before `problems`. */
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

/** The default of `onError`: a failure must be visible somewhere. */
function logToConsole(error: unknown): void {
  // oxlint-disable-next-line no-console
  console.error(error)
}

/** Headers that would describe the answer that the error has replaced. */
const ANSWER_HEADERS = [
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
  for (const name of ANSWER_HEADERS) response.removeHeader(name)
  response.statusMessage = ''
  response
    .status(problem.status)
    .set({ 'Cache-Control': 'no-store', ...problem.headers })
    .type('application/problem+json')
    .json(problem)
}

const RETRY_AFTER = { 'Retry-After': '1' }
const UNEXPECTED = 'The server failed to answer this request. The failure was logged.'

type DatabaseProblem = readonly [kind: abstract new (...args: never[]) => DatabaseError, problem: HttpProblem]

/** Answers by class of error; the first class that matches decides. */
const DATABASE_PROBLEMS: readonly DatabaseProblem[] = [
  [UniqueViolationError, new HttpProblem(409, 'This exists already.')],
  [
    ForeignKeyViolationError,
    new HttpProblem(409, 'This refers to something that does not exist, or is still in use.'),
  ],
  [NotNullViolationError, new HttpProblem(422, 'A required value is missing.')],
  [CheckViolationError, new HttpProblem(422, 'A value is outside of what is allowed.')],
  [CursorError, new HttpProblem(422, 'The cursor is not one of this list and order.')],
  [ConstraintViolationError, new HttpProblem(409, 'This does not fit what exists already.')],
  [
    PoolTimeoutError,
    new HttpProblem(503, 'The service is busy. Try again in a moment.', { headers: RETRY_AFTER }),
  ],
  [
    ConnectionError,
    new HttpProblem(503, 'The service has lost its database. Try again in a moment.', {
      headers: RETRY_AFTER,
    }),
  ],
  [
    NotConnectedError,
    new HttpProblem(503, 'The service is not connected to its database. Try again in a moment.', {
      headers: RETRY_AFTER,
    }),
  ],
  [
    SerializationError,
    new HttpProblem(503, 'Others changed the same data. Try again.', { headers: RETRY_AFTER }),
  ],
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
    new HttpProblem(503, 'The request was cancelled. Try again in a moment.', { headers: RETRY_AFTER }),
  ],
]

function toProblem(error: unknown): HttpProblem {
  if (error instanceof HttpProblem) return error
  const databaseError = databaseErrorOf(error)
  if (databaseError !== null) {
    const found = DATABASE_PROBLEMS.find(([kind]) => databaseError instanceof kind)
    return found?.[1] ?? new HttpProblem(500, UNEXPECTED)
  }
  return toHttpProblem(error) ?? new HttpProblem(500, UNEXPECTED)
}

/** The part of http-errors' and body-parser's errors that is used here; `type` says what went wrong. */
interface HttpError {
  readonly status: number
  readonly type?: string
  readonly limit?: number
}

/** Translates errors of Express and its body parsers. Their messages quote the request, so that they are replaced. */
function toHttpProblem(error: unknown): HttpProblem | null {
  if (!isHttpError(error)) return null
  const detail = { 400: badRequest, 413: tooLarge, 415: unsupported }[error.status] ?? statusMessage
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
    : statusMessage(error)
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

function statusMessage(error: HttpError): string {
  return error.status >= 500 ? UNEXPECTED : `${STATUS_CODES[error.status] ?? 'Bad Request'}.`
}

export type { FieldError }
