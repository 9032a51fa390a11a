/** The hooks of the test runner: jest's, or those of any other that has them under the same global names. */
import { ConfigurationError, type Database } from '../database'

/** A Database, or how to get it when a test begins: for one that is made in `beforeAll`. */
export type DatabaseOrLater = Database | (() => Database)

export function databaseOf(database: DatabaseOrLater): Database {
  return typeof database === 'function' ? database() : database
}

type Register = (hook: () => Promise<void>) => void

/** @throws ConfigurationError when there is no such runner */
export function hook(name: 'beforeEach' | 'afterEach', caller: string): Register {
  const register = (globalThis as Record<string, unknown>)[name]
  if (typeof register === 'function') return register as Register
  throw new ConfigurationError(
    `${caller} registers hooks of the test runner, and there is no global ${name}(). Call it in a test file of jest, ` +
      'outside of the tests.',
  )
}
