/** A database as an application depends on it: it has to be there, or it may be missing. */
import { ConfigurationError, Database } from '../database'

/** A database, and whether the application can do without it. */
export interface ServedDatabase {
  readonly database: Database
  /**
   * Default true. Without one that is not required the application starts and is ready all the same; only the requests
   * that use it fail.
   */
  readonly required?: boolean
}

const KNOWN = ['database', 'required']

/** @throws ConfigurationError for anything that is neither a Database nor an object with one */
export function served(entry: Database | ServedDatabase): Required<ServedDatabase> {
  if (entry instanceof Database) return { database: entry, required: true }
  const { database, required = true } = entry
  const unknown = Object.keys(entry).find((name) => !KNOWN.includes(name))
  if (!(database instanceof Database) || typeof required !== 'boolean' || unknown !== undefined) {
    throw new ConfigurationError(
      'databases takes each as a Database, or as { database, required } with a Database and a boolean.',
    )
  }
  return { database, required }
}
