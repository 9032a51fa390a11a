/** Registers hooks with the test runner: jest, or any other that has hooks under the same global names. */
import { ConfigurationError, type Database } from '../database'

/** A Database, or a function that returns it when a test begins, for one that is made in `beforeAll`. */
export type DatabaseOrLater = Database | (() => Database)

export function databaseOf(database: DatabaseOrLater): Database {
  return typeof database === 'function' ? database() : database
}

type Register = (hook: () => Promise<void>) => void

/**
 * Returns the function that registers hooks of this name.
 *
 * @throws ConfigurationError when there is no such runner
 */
export function registerHook(name: 'beforeEach' | 'afterEach', caller: string): Register {
  const register = (globalThis as Record<string, unknown>)[name]
  if (typeof register === 'function') return register as Register
  throw new ConfigurationError(
    `${caller} registers hooks of the test runner, and there is no global ${name}(). Call it in a test file of jest, ` +
      'outside of the tests.',
  )
}
