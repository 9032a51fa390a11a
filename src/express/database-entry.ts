/** An entry of the option `databases`: a database, and whether the application requires it. */
import { ConfigurationError, Database } from '../database'

/** A database, and whether the application requires it. */
export interface ServedDatabase {
  readonly database: Database
  /**
   * Default true. If false, the application starts and is ready without the database; only requests that use it fail.
   */
  readonly required?: boolean
}

const KNOWN = ['database', 'required']

/** @throws ConfigurationError for anything but a Database or a ServedDatabase */
export function databaseEntry(entry: Database | ServedDatabase): Required<ServedDatabase> {
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
