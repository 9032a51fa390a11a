/** Makes the OpenAPI document from the definitions of the routes. */
import { STATUS_CODES } from 'node:http'
import * as z from 'zod'
import { version } from '../../package.json'
import { collectSchemas } from './json-schemas'
import { BODY_LIMIT, type Definition } from './route'

type Json = Readonly<Record<string, unknown>>

const problem = z
  .object({
    type: z.string().meta({ description: '`about:blank`: no more is meant than the status says.' }),
    title: z.string(),
    status: z.int().min(400).max(599),
    detail: z.string().meta({ description: 'What went wrong, for people.' }),
    errors: z
      .array(
        z.object({
          loc: z.array(z.union([z.string(), z.int()])).meta({ examples: [['body', 'username']] }),
          msg: z.string().meta({ examples: ['Required'] }),
        }),
      )
      .optional()
      .meta({ description: 'What is wrong with the input, and where: 20 mistakes at most.' }),
  })
  .meta({ id: 'Problem', description: 'Problem details as in RFC 9457.' })

/** Errors that many routes can answer, by the name of their component: status, detail, description. */
const SHARED_ERRORS = {
  BadRequest: [400, 'The body is not valid JSON (from character 12).', 'The request cannot be read.'],
  MethodNotAllowed: [405, 'This address allows GET, HEAD, OPTIONS.', 'The address has no such method.'],
  NotAcceptable: [
    406,
    'The answer is application/json, which your Accept header rules out.',
    'The client takes no JSON.',
  ],
  RequestTimeout: [
    408,
    'The rest of the request did not come, and the server is shutting down.',
    'The body stopped coming.',
  ],
  ContentTooLarge: [413, `The body is larger than ${BODY_LIMIT} bytes.`, 'The body is too large.'],
  UnsupportedMediaType: [
    415,
    'Send the body as JSON, with Content-Type: application/json.',
    'The body is in a form that the service does not read.',
  ],
  UnprocessableContent: [422, 'The body is not valid.', 'The input is not what the schema says.'],
  InternalServerError: [
    500,
    'The server failed to answer this request. The failure was logged.',
    'The service failed. Nothing about the inside is told.',
  ],
  ServiceUnavailable: [
    503,
    'The service is busy. Try again in a moment.',
    'No connection to the database was to be had, its tables are not there yet, or others changed the same data: nothing was done.',
  ],
  GatewayTimeout: [504, 'The database did not answer in time.', 'The database took too long.'],
} as const satisfies Record<string, readonly [status: number, detail: string, description: string]>

type SharedError = keyof typeof SHARED_ERRORS

const ON_EVERY_ROUTE: readonly SharedError[] = [
  'NotAcceptable',
  'UnprocessableContent',
  'InternalServerError',
  'ServiceUnavailable',
  'GatewayTimeout',
]
const WITH_BODY: readonly SharedError[] = [
  'BadRequest',
  'RequestTimeout',
  'ContentTooLarge',
  'UnsupportedMediaType',
]

const HEADERS = {
  'X-Request-Id': 'What the request is called in logs: as the client named it, or else as the service did.',
  Location: 'Where the new resource is, relative to the address of the request.',
  Link: 'The address of the next page as `<…>; rel="next"`. Left out when there is none.',
  ETag: 'The state of the answer, for `If-None-Match`.',
  'Retry-After': 'After how many seconds it is worth trying again.',
  Allow: 'The methods that the address has.',
} as const

type Header = keyof typeof HEADERS

const DESCRIPTION = `Users and their posts, accounts and transfers, and products.

Money is a whole number of minor units, such as cents. Addresses may end in a slash. A \`POST\` without a body may carry the
fields of its body as query parameters. Unknown fields and parameters are refused. Every address answers \`HEAD\` where
it answers \`GET\`, \`OPTIONS\` with the methods it has, and any other method with 405; an unknown address is 404. Errors are
\`application/problem+json\`. A request whose headers are too large (431) or do not come (408) is refused before it is
looked at, without a body.`

export function openApi(definitions: readonly Definition[]): Json {
  const { schemaOf, exampleOf, components } = collectSchemas()
  const problemSchema = schemaOf(problem, 'output')

  function problemAnswer(
    status: number,
    detail: string,
    description: string,
    headers: readonly Header[],
  ): Json {
    const title = STATUS_CODES[status]
    const errors = status === 422 ? { errors: [{ loc: ['body', 'username'], msg: 'Required' }] } : {}
    const example = { type: 'about:blank', title, status, detail, ...errors }
    return {
      description,
      headers: headersOf(headers),
      content: { 'application/problem+json': { schema: problemSchema, example } },
    }
  }

  function answersOf({ method, input = {}, answers, problems = {} }: Definition): Json {
    const isList = input.query !== undefined && 'after' in input.query.shape
    const own = Object.entries(answers).map(([status, schema]): [string, Json] => {
      const headers: Header[] = ['X-Request-Id']
      if (status === '201') headers.push('Location')
      if (method === 'get') headers.push('ETag')
      if (isList) headers.push('Link')
      const content = schema && {
        'application/json': { schema: schemaOf(schema, 'output'), example: exampleOf(schema, 'output') },
      }
      return [
        status,
        { description: descriptionOf(status), headers: headersOf(headers), ...(content && { content }) },
      ]
    })
    const refusals = Object.entries(problems).map(([status, detail]): [string, Json] => [
      status,
      problemAnswer(Number(status), detail, descriptionOf(status), ['X-Request-Id']),
    ])
    const notModified = {
      description: 'As it was when the ETag was given.',
      headers: headersOf(['X-Request-Id', 'ETag']),
    }
    const names = [
      ...ON_EVERY_ROUTE,
      ...(input.body === undefined ? [] : WITH_BODY),
      // A parameter in the path may not be decodable.
      ...(input.params === undefined ? [] : (['BadRequest'] as const)),
    ]
    const shared = names.map((name): [string, Json] => [
      String(SHARED_ERRORS[name][0]),
      { $ref: `#/components/responses/${name}` },
    ])
    return Object.fromEntries([
      ...shared,
      ...own,
      ...refusals,
      ...(method === 'get' ? [['304', notModified] as const] : []),
    ])
  }

  function parametersOf({ input = {} }: Definition): Json[] {
    return (['params', 'query', 'headers'] as const).flatMap((part) => {
      const schema = input[part]
      if (schema === undefined) return []
      const { properties = {}, required = [] } = schemaOf(schema, 'input') as ObjectSchema
      return Object.entries(properties).map(([name, { description, ...rest }]) => ({
        name: part === 'headers' ? headerName(name) : name,
        in: PARAMETER_PLACES[part],
        required: required.includes(name),
        ...(description !== undefined && { description }),
        schema: rest,
      }))
    })
  }

  function operationOf(definition: Definition): Json {
    const { method, path, summary, input = {} } = definition
    const parameters = parametersOf(definition)
    return {
      operationId: operationIdOf(method, path),
      tags: [tagOf(path)],
      summary,
      ...(parameters.length > 0 && { parameters }),
      ...(input.body !== undefined && {
        requestBody: {
          required: true,
          content: {
            'application/json': {
              schema: schemaOf(input.body, 'input'),
              example: exampleOf(input.body, 'input'),
            },
          },
        },
      }),
      responses: answersOf(definition),
    }
  }

  const paths: Record<string, Record<string, Json>> = {}
  for (const definition of definitions)
    paths[definition.path] = { ...paths[definition.path], [definition.method]: operationOf(definition) }
  const responses = Object.entries(SHARED_ERRORS).map(([name, [status, detail, description]]) => {
    const extra: Header[] = status === 503 ? ['Retry-After'] : status === 405 ? ['Allow'] : []
    return [name, problemAnswer(status, detail, description, ['X-Request-Id', ...extra])]
  })
  const headers = Object.entries(HEADERS).map(([name, description]) => [
    name,
    { description, schema: { type: 'string' } },
  ])
  return {
    openapi: '3.1.0',
    info: {
      title: 'millpond',
      version,
      description: DESCRIPTION,
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: './' }],
    tags: [...new Set(definitions.map(({ path }) => tagOf(path)))].map((name) => ({ name })),
    paths,
    components: {
      schemas: components,
      responses: Object.fromEntries(responses),
      headers: Object.fromEntries(headers),
    },
  }
}

const PARAMETER_PLACES = { params: 'path', query: 'query', headers: 'header' } as const

/** `idempotency-key` → Idempotency-Key. */
function headerName(name: string): string {
  return name.replace(/\b[a-z]/g, (letter) => letter.toUpperCase())
}

interface ObjectSchema {
  readonly properties?: Readonly<Record<string, Json & { description?: string }>>
  readonly required?: readonly string[]
}

function headersOf(names: readonly Header[]): Json {
  return Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]))
}

/** `/users/{id}/posts` → Users. */
function tagOf(path: string): string {
  const [, first = ''] = path.split('/')
  const name = `${first.charAt(0).toUpperCase()}${first.slice(1)}`
  return name.endsWith('s') ? name : `${name}s`
}

/** `get /users/{id}/posts` → getUsersByIdPosts. */
function operationIdOf(method: string, path: string): string {
  const words = path
    .split('/')
    .map((word) => word.replace(/^\{(\w)/, (_all, first: string) => `By${first.toUpperCase()}`))
  return [method, ...words.map((word) => word.replace(/\}$/, '')).filter(Boolean)]
    .map((word, index) => (index === 0 ? word : `${word.charAt(0).toUpperCase()}${word.slice(1)}`))
    .join('')
}

function descriptionOf(status: string): string {
  return (
    {
      200: 'Done.',
      201: 'Made.',
      204: 'Gone.',
      404: 'There is no such thing.',
      409: 'It does not fit what exists.',
    }[status] ?? `${STATUS_CODES[status] ?? status}.`
  )
}
