/** An entry of the option `databases`: a database, whether the application requires it, and what else makes it ready. */
import { ConfigurationError, Database } from '../database'

/** What a check of a database has found. */
export interface Readiness {
  readonly ready: boolean
  /** What is missing, or worth knowing. `/readyz` shows it to everybody who asks. */
  readonly detail?: string
}

/** A database, and whether the application requires it. */
export interface ServedDatabase {
  readonly database: Database
  /**
   * Default true. If false, the application starts and is ready without the database; only requests that use it fail.
   */
  readonly required?: boolean
  /**
   * Tells whether the database has what the application needs, such as its tables. `/readyz` calls it each time that the
   * database has answered the ping. While the pool is full, or when it takes too long, its last answer stands.
   */
  readonly check?: () => Promise<Readiness>
}

const KNOWN = ['database', 'required', 'check']

const isReady = (): Promise<Readiness> => Promise.resolve({ ready: true })

/** @throws ConfigurationError for anything but a Database or a ServedDatabase */
export function databaseEntry(entry: Database | ServedDatabase): Required<ServedDatabase> {
  if (entry instanceof Database) return { database: entry, required: true, check: isReady }
  const { database, required = true, check = isReady } = entry
  const unknown = Object.keys(entry).find((name) => !KNOWN.includes(name))
  const isRight = database instanceof Database && typeof required === 'boolean' && typeof check === 'function'
  if (!isRight || unknown !== undefined) {
    throw new ConfigurationError(
      'databases takes each as a Database, or as { database, required, check } with a Database, a boolean and a function.',
    )
  }
  return { database, required, check }
}
