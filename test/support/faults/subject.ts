/** The subject of a fault: a pool of ten connections and the few things that an application does with it. */

export interface SubjectOptions {
  /** How long a call waits for a connection. */
  readonly acquireTimeoutMillis: number
  /** How long each call may take as a whole, as far as the subject can say so. Default: no limit. */
  readonly callTimeoutMillis?: number
}

export interface Subject {
  /** The balance of an account. */
  read(account: number): Promise<unknown>
  /** Writes an entry under an id of its own, by one statement outside of any transaction. */
  write(id: number): Promise<void>
  /** Reads two accounts, moves money from one to the other and writes an entry, in one transaction. */
  transfer(id: number, from: number, to: number): Promise<void>
  /** Has the server sleep; `label` is who does so, for a subject that can name its holders. */
  sleep(seconds: number, label: string): Promise<void>
  /** Closes the pool. Returns who was cut off, as far as the subject says so. */
  close(graceMillis?: number): Promise<readonly string[]>
}

/** What may be tried. */
export interface Candidate {
  readonly name: string
  /** Fails when the database cannot be reached, at once or at the subject's first read. */
  open(this: void, url: string, options: SubjectOptions): Promise<Subject>
}

/** The most connections that any subject has. */
export const CONNECTIONS = 10

/** The figures of a scenario. Times are milliseconds; NaN is one that never came. */
export type Figures = Readonly<Record<string, number | string>>

/** What a call failed with, for people: the class, and the code of the system or the server where it is one. */
export function failureName(error: unknown): string {
  const code = codeOf(error)
  return /^(?:E[A-Z]+|[\dA-Z]{5})$/.test(code) ? `${classOf(error)} ${code}` : classOf(error)
}

export function classOf(error: unknown): string {
  return error instanceof Error ? error.constructor.name : typeof error
}

export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''
}
