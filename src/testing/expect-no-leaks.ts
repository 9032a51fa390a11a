/** Fails tests that do not release a connection or leave a transaction open. */
import { unreleasedHolders, throwIfLeaked } from './leaks'
import { databaseOf, type DatabaseOrLater, registerHook } from './test-runner'

/**
 * Fails each test of the file, or of the `describe` around it, that ends with a connection not released or a transaction
 * open. Waits up to a second for connections that are being released.
 *
 * Set `pool.leakThresholdMillis` on the Database to have the error name the call site.
 *
 * @throws ConfigurationError outside of a test runner like jest
 * @example
 * expectNoLeaks(database)
 */
export function expectNoLeaks(...databases: readonly DatabaseOrLater[]): void {
  registerHook(
    'afterEach',
    'expectNoLeaks()',
  )(async () => {
    for (const given of databases) {
      const database = databaseOf(given)
      throwIfLeaked(database, await unreleasedHolders(database))
    }
  })
}
