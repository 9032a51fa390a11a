/** An error that is meant for the client: the answer has its status and its message. */
import { STATUS_CODES } from 'node:http'

/** One thing that is wrong with the input. */
export interface FieldError {
  /** Where the error is: the part of the request, then the path in it, such as `['body', 'username']`. */
  readonly loc: readonly (string | number)[]
  readonly msg: string
}

export interface HttpProblemOptions {
  readonly cause?: unknown
  /** A URI that names the kind of problem. Default `about:blank`: the status says all. */
  readonly type?: string
  /** Default: the name of the status. */
  readonly title?: string
  readonly errors?: readonly FieldError[]
  /** Headers of the answer, such as `Retry-After`. */
  readonly headers?: Readonly<Record<string, string>>
}

/**
 * Becomes the answer of a request when it is thrown anywhere below the request and `problems()` is mounted.
 *
 * @example
 * throw new HttpProblem(404, 'User not found')
 */
export class HttpProblem extends Error {
  readonly status: number
  readonly type: string
  readonly title: string
  readonly errors: readonly FieldError[] | undefined
  readonly headers: Readonly<Record<string, string>>

  constructor(status: number, detail: string, options: HttpProblemOptions = {}) {
    super(detail, options)
    this.name = 'HttpProblem'
    this.status = status
    this.type = options.type ?? 'about:blank'
    this.title = options.title ?? STATUS_CODES[status] ?? 'Error'
    this.errors = options.errors
    this.headers = options.headers ?? {}
  }

  /** Returns the problem document of RFC 9457. */
  toJSON(): object {
    const document = { type: this.type, title: this.title, status: this.status, detail: this.message }
    return this.errors === undefined ? document : { ...document, errors: this.errors }
  }
}
