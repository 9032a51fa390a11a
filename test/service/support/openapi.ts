/** A running service with its OpenAPI document, by which each of its responses is checked. */
import { Ajv2020 } from 'ajv/dist/2020'
import addFormats from 'ajv-formats'

interface Content {
  readonly schema: object
  readonly example: unknown
}

interface Answer {
  readonly $ref?: string
  readonly headers?: Readonly<Record<string, object>>
  readonly content?: Readonly<Record<string, Content>>
}

interface OperationObject {
  readonly operationId: string
  readonly summary: string
  readonly parameters?: readonly { readonly in: string }[]
  readonly requestBody?: { readonly content: Readonly<Record<string, Content>> }
  readonly responses: Readonly<Record<string, Answer>>
}

export interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, OperationObject>>>>
  readonly components: { readonly responses: Readonly<Record<string, Answer>> }
}

export interface Operation {
  /** `GET /users/{id}`. */
  readonly name: string
  readonly method: string
  readonly path: string
  readonly operation: OperationObject
  /** Those that the document lists, in order. */
  readonly statuses: readonly string[]
  readonly hasBody: boolean
  readonly hasParameters: boolean
  /** Its URL, by default with the id of an existing row. */
  address(this: void, id?: number | string): string
}

const ROOT = 'http://specified/openapi'

export class SpecifiedService {
  readonly document: Document
  /** In an order in which each finds its rows. */
  readonly operations: readonly Operation[]
  readonly #url: string
  readonly #ajv = new Ajv2020({ strict: false, allErrors: true })
  readonly #ids = new Map<string, number[]>()
  #made = 0

  static async of(url: string): Promise<SpecifiedService> {
    const response = await fetch(`${url}/openapi.json`)
    return new SpecifiedService(url, (await response.json()) as Document)
  }

  constructor(url: string, document: Document) {
    this.#url = url
    this.document = document
    addFormats.default(this.#ajv)
    this.#ajv.addSchema({ ...document, $id: ROOT })
    const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => this.#operationOf(path, method, operation)),
    )
    this.operations = operations.toSorted((a, b) => lateness(a) - lateness(b))
  }

  #operationOf(path: string, method: string, operation: OperationObject): Operation {
    return {
      name: `${method.toUpperCase()} ${path}`,
      method: method.toUpperCase(),
      path,
      operation,
      statuses: Object.keys(operation.responses).toSorted(),
      hasBody: operation.requestBody !== undefined,
      hasParameters: operation.parameters?.some((parameter) => parameter.in === 'path') ?? false,
      address: (id = this.ids(`/${path.split('/')[1]}`)[0] ?? 1) =>
        this.#url + path.replace('{id}', String(id)),
    }
  }

  operation(name: string): Operation {
    const found = this.operations.find((one) => one.name === name)
    if (found === undefined) throw new Error(`The document has no ${name}`)
    return found
  }

  /** The ids of existing rows that were created at a path. */
  ids(path: string): readonly number[] {
    return this.#ids.get(path) ?? []
  }

  async create(path: string, body: object): Promise<{ id: number }> {
    const response = await fetch(this.#url + path, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    })
    if (response.status !== 201) throw new Error(`POST ${path}: ${response.status} ${await response.text()}`)
    const made = (await response.json()) as { id: number }
    this.#ids.set(path, [...this.ids(path), made.id])
    return made
  }

  /** The example of the document, with existing ids and unused names. */
  bodyFor({ operation, path }: Operation): object {
    this.#made += 1
    const example = {
      ...(operation.requestBody?.content['application/json']?.example as Record<string, unknown>),
    }
    if (path.startsWith('/users')) {
      example['username'] = `user${this.#made}`
      example['email'] = `user${this.#made}@example.com`
    }
    if ('author_id' in example) example['author_id'] = this.ids('/users')[0]
    if ('from_account' in example) [example['from_account'], example['to_account']] = this.ids('/accounts')
    return example
  }

  /** Sends a request, checks its answer in full, and returns its status. */
  async call(
    { name, method, path, operation }: Operation,
    address: string,
    init: RequestInit,
  ): Promise<number> {
    const response = await fetch(address, { ...init, method })
    const text = await response.text()
    const status = String(response.status)
    const listed = operation.responses[status]
    const seen = `${name} at ${address}: ${status} ${text}`
    if (listed === undefined) throw new Error(`${seen} is not in the document`)
    const [answer, place] = this.#resolve(
      listed,
      `/paths/${escaped(path)}/${method.toLowerCase()}/responses/${status}`,
    )
    const [type, content] = Object.entries(answer.content ?? {})[0] ?? []
    if (content === undefined) {
      if (text !== '') throw new Error(`${seen} has a body, and should have none`)
    } else {
      if (response.headers.get('content-type') !== `${type}; charset=utf-8`)
        throw new Error(`${seen} is ${response.headers.get('content-type')}, and should be ${type}`)
      const errors = this.errorsOf(`${place}/content/${escaped(type ?? '')}`, JSON.parse(text))
      if (errors !== null) throw new Error(`${seen}: ${errors}`)
    }
    for (const header of Object.keys(answer.headers ?? {})) {
      // The last page has no next one.
      if (header !== 'Link' && !response.headers.has(header))
        throw new Error(`${seen} has no header ${header}`)
    }
    if (method === 'DELETE' && response.status === 204)
      this.#ids.set(`/${path.split('/')[1]}`, this.ids(`/${path.split('/')[1]}`).slice(1))
    return response.status
  }

  #resolve(answer: Answer, place: string): [answer: Answer, place: string] {
    if (answer.$ref === undefined) return [answer, place]
    const name = answer.$ref.replace('#/components/responses/', '')
    const found = this.document.components.responses[name]
    if (found === undefined) throw new Error(`${answer.$ref} is not in the document`)
    return [found, `/components/responses/${name}`]
  }

  /** The mistake in a value by the schema of the content at a place in the document; null if there is none. */
  errorsOf(pointer: string, value: unknown): string | null {
    const validate = this.#ajv.compile({ $ref: `${ROOT}#${encodeURI(pointer)}/schema` })
    return validate(value) ? null : this.#ajv.errorsText(validate.errors)
  }

  /** Every content in the document, requests and answers, with its example. */
  contents(): { pointer: string; example: unknown }[] {
    const found: { pointer: string; example: unknown }[] = []
    const collect = (pointer: string, contents: Readonly<Record<string, Content>> = {}): void => {
      for (const [type, { example }] of Object.entries(contents))
        found.push({ pointer: `${pointer}/content/${escaped(type)}`, example })
    }
    for (const { path, method, operation } of this.operations) {
      const place = `/paths/${escaped(path)}/${method.toLowerCase()}`
      collect(`${place}/requestBody`, operation.requestBody?.content)
      for (const [status, answer] of Object.entries(operation.responses)) {
        const [resolved, at] = this.#resolve(answer, `${place}/responses/${status}`)
        collect(at, resolved.content)
      }
    }
    return found
  }
}

/** Deleting comes last, and of users after their posts, which go with them. */
function lateness({ method, path }: Operation): number {
  return method !== 'DELETE' ? 0 : path.startsWith('/users') ? 2 : 1
}

/** A name as a part of a JSON pointer. */
function escaped(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1')
}
