/** Fails tests that do not release a connection or leave a transaction open. */
import { unreleasedHolders, throwIfLeaked } from './leaks'
import { databaseOf, type DatabaseOrLater, databasesAndHooks, type TestHooks } from './test-runner'

/**
 * Fails each test of the file, or of the `describe` around it, that ends with a connection not released or a transaction
 * open. Waits up to a second for connections that are being released.
 *
 * Set `pool.leakThresholdMillis` on the Database to have the error name the call site.
 *
 * The hooks are found, or given, as those of `rollbackEach`.
 *
 * @throws ConfigurationError outside of a test runner
 * @example
 * expectNoLeaks(database)
 */
export function expectNoLeaks(...given: readonly (DatabaseOrLater | TestHooks)[]): void {
  const { databases, hooks } = databasesAndHooks(given, 'expectNoLeaks()')
  hooks.afterEach(async () => {
    for (const given of databases) {
      const database = databaseOf(given)
      throwIfLeaked(database, await unreleasedHolders(database))
    }
  })
}
