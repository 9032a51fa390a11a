/** Internals that no response may show: statements, paths and values. */
import path from 'node:path'
import type { RawAnswer } from './raw-http'

const ROOT = path.resolve(__dirname, '../../..')

/** None of these words is in an intended response. */
const NEVER = [
  ROOT,
  'node_modules',
  'src/service',
  'node:internal',
  '    at ',
  '.ts:',
  '.js:',
  'SELECT ',
  'INSERT INTO',
  'UPDATE ',
  'DELETE FROM',
  ' FROM ',
  'BEGIN',
  'SQLITE',
  'sqlite',
  'postgres',
  'Knex',
  'knex',
  'syntax error',
  'constraint',
  '_unique',
  '_foreign',
  '_check',
  'relation',
  'duplicate key',
  'ECONN',
  'Error:',
  'TypeError',
  'undefined',
  '[object Object]',
  'root:',
  'devDependencies',
]

/** Every `detail` of a refused request. */
const DETAILS = [
  /^The (body|query) is not valid\.$/,
  /^The headers are not valid\.$/,
  /^The body is not valid JSON( \(from character \d+\))?\.$/,
  /^The body is not as long as its Content-Length says\.$/,
  /^The body is larger than \d+ bytes\.$/,
  /^The charset of the body is not supported\. Send UTF-8\.$/,
  /^The (Content-Encoding|type) of the body is not supported\.$/,
  /^Send the body as JSON, with Content-Type: application\/json\.$/,
  /^The answer is application\/json, which your Accept header rules out\.$/,
  /^This address allows [A-Z]+(, [A-Z]+)*\.$/,
  /^There is nothing at this address\.$/,
  /^The address is not valid: a % in it starts no percent-code\.$/,
  /^(User|Post|Account|Product|Transfer) not found$/,
  /^Account \d+ not found$/,
  /^(Username|Email) is already taken$/,
  /^Insufficient funds$/,
  /^The balance of account \d+ would become too large$/,
  /^This Idempotency-Key was sent with another request before\.$/,
  /^(Bad Request|Not Found|Precondition Failed|Range Not Satisfiable|Forbidden)\.$/,
]

/** Refusals by Node itself, which have no body. */
const BY_NODE = [400, 408, 413, 417, 431]

interface ProblemBody {
  readonly type?: unknown
  readonly title?: unknown
  readonly status?: unknown
  readonly detail?: unknown
  readonly errors?: readonly { readonly loc: readonly (string | number)[]; readonly msg: string }[]
}

/** The mistake in a response to a malformed request; null if there is none. */
export function faultOf(answer: RawAnswer, secrets: readonly string[]): string | null {
  const { status, headers, body } = answer
  if (status >= 500) return `a status of ${status}`
  for (const secret of secrets) if (body.includes(secret)) return `it shows ${secret}`
  if (status < 400) return null
  if (body === '' && BY_NODE.includes(status) && headers['x-request-id'] === undefined) return null
  // The response to HEAD has no body, but describes it.
  if (headers['content-type'] !== 'application/problem+json; charset=utf-8') return 'it is no problem details'
  return body === '' ? null : faultOfProblem(status, body)
}

function faultOfProblem(status: number, body: string): string | null {
  const { errors = [], ...problem } = JSON.parse(body) as ProblemBody
  if (problem.status !== status || problem.type !== 'about:blank') return 'its problem is of another status'
  const detail = String(problem.detail)
  if (!DETAILS.some((known) => known.test(detail))) return `an unknown detail: ${detail}`
  // A name is the client's own, if the service does not know it.
  const own = JSON.stringify([problem, errors.map(({ msg }) => msg)])
  const shown = NEVER.find((word) => own.includes(word))
  return shown === undefined ? null : `it shows ${shown}`
}

/** Texts that would reveal the place of a database: its file, or its host and name. */
export function placesOf(url: string): string[] {
  const { host, pathname } = new URL(url)
  return [host, pathname.split('/').at(-1) ?? ''].filter((part) => part.length > 3)
}
