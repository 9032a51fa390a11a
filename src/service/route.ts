/** Defines routes: one definition has a route's input and answers, from which its checks, types and docs are made. */
import { finished } from 'node:stream/promises'
import express, { type Express, type Request, type RequestHandler } from 'express'
import * as z from 'zod'
import { type FieldError, HttpProblem, methodNotAllowed } from '../express'
import { sendJson } from './send-json'

/** The largest body, in bytes. */
export const BODY_LIMIT = 102_400

interface Input {
  readonly params?: z.ZodObject
  readonly query?: z.ZodObject
  readonly body?: z.ZodObject
  /** The headers that the handler reads, by their names in lower case. */
  readonly headers?: z.ZodObject
}

/** The successful answers of a route, by status; null for an answer without a body. */
type Answers = Readonly<Record<number, z.ZodType | null>>

export interface Definition<I extends Input = Input, A extends Answers = Answers> {
  readonly method: 'get' | 'post' | 'patch' | 'delete'
  /** As OpenAPI writes it: `/users/{id}`. */
  readonly path: `/${string}`
  readonly summary: string
  readonly input?: I
  readonly answers: A
  /** The `detail` of its other answers, by status. 422 need not be listed. */
  readonly problems?: Readonly<Record<number, string>>
}

type Parsed<I, K extends keyof Input> = K extends keyof I
  ? I[K] extends z.ZodType
    ? z.output<I[K]>
    : undefined
  : undefined

type Answer<A extends Answers> = {
  [S in keyof A & number]: {
    readonly status: S
    readonly body: A[S] extends z.ZodType ? z.input<A[S]> : null
    readonly headers?: Readonly<Record<string, string>>
  }
}[keyof A & number]

type Handler<I extends Input, A extends Answers> = (input: {
  readonly params: Parsed<I, 'params'>
  readonly query: Parsed<I, 'query'>
  readonly body: Parsed<I, 'body'>
  readonly headers: Parsed<I, 'headers'>
}) => Promise<Answer<A>>

export interface Route {
  readonly definition: Definition
  readonly handle: RequestHandler
}

/**
 * Makes a route of a definition and its handler. The handler gets checked input only; unknown fields are refused with 422,
 * so that a misspelt field is never silently ignored.
 */
export function route<const I extends Input, const A extends Answers>(
  definition: Definition<I, A>,
  handler: Handler<I, NoInfer<A>>,
): Route {
  return {
    definition,
    handle: async (request, response) => {
      refuseUnacceptable(request)
      if (definition.method === 'delete') await waitForBody(request)
      const answer = await handler(checkedInput(definition, request) as Parameters<typeof handler>[0])
      sendJson(request, response, answer)
    },
  }
}

/** Refuses requests that do not accept JSON before anything is done, because every answer is JSON. */
function refuseUnacceptable(request: Request): void {
  const { accept } = request.headers
  if (accept === undefined || accept === '*/*' || accept === 'application/json') return
  if (request.accepts('application/json', 'application/json; charset=utf-8') === false) {
    throw new HttpProblem(406, 'The answer is application/json, which your Accept header rules out.')
  }
}

/**
 * Waits for the end of a body that is not used. A body that breaks off is answered with 400, and a client that gets 400 must
 * be able to rely on nothing having been done.
 */
async function waitForBody(request: Request): Promise<void> {
  if (hasBody(request)) await finished(request.resume())
}

/** Mounts routes, with 405 for methods that an address does not have. Reads bodies only for routes that take one. */
export function mount(app: Express, routes: readonly Route[]): void {
  const paths = new Map<string, Route[]>()
  for (const each of routes)
    paths.set(each.definition.path, [...(paths.get(each.definition.path) ?? []), each])
  for (const [path, group] of paths) {
    const address = app.route(path.replace(/\{(\w+)\}/g, ':$1'))
    for (const { definition, handle } of group) {
      const steps = definition.input?.body === undefined ? [handle] : [jsonBody, handle]
      address[definition.method](...steps)
    }
    address.all(methodNotAllowed(...group.map(({ definition }) => definition.method.toUpperCase())))
  }
}

const jsonBody = express.json({ limit: BODY_LIMIT, strict: true })

const EMPTY_QUERY = z.strictObject({})

function checkedInput(
  { input = {}, problems = {} }: Definition,
  request: Request,
): Record<keyof Input, unknown> {
  const params = input.params?.safeParse(numbersIn(input.params, request.params))
  // A text that cannot be an id is the id of no resource.
  if (params?.success === false) throw new HttpProblem(404, problems[404] ?? 'Not found')
  const isBodyInQuery = input.body !== undefined && isSentAsQuery(request)
  const query = isBodyInQuery ? {} : queryOf(input.query, request)
  const headers = input.headers && check('header', input.headers, request.headers)
  if (input.body === undefined) return { params: params?.data, query, body: undefined, headers }
  const body = isBodyInQuery
    ? check('query', input.body, numbersIn(input.body, request.query))
    : check('body', input.body, bodyOf(request))
  return { params: params?.data, query, body, headers }
}

/** Checks the query. Skips `request.query` if there is none, because Express parses the address at each access. */
function queryOf(schema: z.ZodObject | undefined, request: Request): unknown {
  if (schema === undefined && !request.url.includes('?')) return {}
  return check('query', schema ?? EMPTY_QUERY, numbersIn(schema, request.query))
}

/** Returns whether a POST without a body carries its fields in the address. */
function isSentAsQuery(request: Request): boolean {
  if (request.method !== 'POST' || hasBody(request) || !request.url.includes('?')) return false
  return Object.keys(request.query).length > 0
}

function hasBody({ headers }: Request): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

function bodyOf(request: Request): unknown {
  if (request.body === undefined && hasBody(request)) {
    throw new HttpProblem(415, 'Send the body as JSON, with Content-Type: application/json.', {
      headers: { Accept: 'application/json' },
    })
  }
  // Without a body, each required field is reported as missing.
  return (request.body as unknown) ?? {}
}

/** Converts the texts of an address to numbers where the schema has a number. */
function numbersIn(schema: z.ZodObject | undefined, texts: object): Record<string, unknown> {
  const shape = schema?.shape ?? {}
  return Object.fromEntries(
    Object.entries(texts).map(([name, text]: [string, unknown]) => {
      const field = Object.hasOwn(shape, name) ? shape[name] : undefined
      const isCanonical = typeof text === 'string' && String(Number(text)) === text
      return [name, isCanonical && isNumber(field) ? Number(text) : text]
    }),
  )
}

function isNumber(field: z.core.$ZodType | undefined): boolean {
  if (field instanceof z.ZodOptional || field instanceof z.ZodDefault) return isNumber(field.unwrap())
  return field instanceof z.ZodNumber
}

/** The most errors in one answer: a hostile body can contain thousands. */
const MAX_ERRORS = 20

const PART_NAMES = { query: 'The query is', body: 'The body is', header: 'The headers are' } as const

function check(part: keyof typeof PART_NAMES, schema: z.ZodObject, value: unknown): unknown {
  const checked = schema.safeParse(value, {
    error: ({ input }) => (input === undefined ? 'Required' : undefined),
  })
  if (checked.success) return checked.data
  const errors = checked.error.issues.flatMap((issue): FieldError[] => {
    const loc = [part, ...issue.path.map((key) => (typeof key === 'number' ? key : String(key)))]
    if (issue.code !== 'unrecognized_keys') return [{ loc, msg: issue.message }]
    return issue.keys.map((key) => ({ loc: [...loc, key], msg: 'Unknown field' }))
  })
  throw new HttpProblem(422, `${PART_NAMES[part]} not valid.`, { errors: errors.slice(0, MAX_ERRORS) })
}
