/** An error that is meant for the client: it is answered with its own status and its own words. */
import { STATUS_CODES } from 'node:http'

/** One thing that is wrong with the input. */
export interface FieldError {
  /** Where: the part of the request, then the way into it, such as `['body', 'username']`. */
  readonly loc: readonly (string | number)[]
  readonly msg: string
}

export interface HttpProblemOptions extends ErrorOptions {
  /** A URI that names the kind of problem. Default `about:blank`: no more than its status says. */
  readonly type?: string
  /** Default: the name of the status. */
  readonly title?: string
  readonly errors?: readonly FieldError[]
  /** Sent with the answer, such as `Retry-After`. */
  readonly headers?: Readonly<Record<string, string>>
}

/**
 * Thrown anywhere under a request, becomes its answer when `problems()` is mounted.
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

  /** The document of RFC 9457. */
  toJSON(): object {
    const document = { type: this.type, title: this.title, status: this.status, detail: this.message }
    return this.errors === undefined ? document : { ...document, errors: this.errors }
  }
}
