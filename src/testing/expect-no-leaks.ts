/** Fails a test that has left a connection out, or a transaction open. */
import { leftOpen, refuseLeaks } from './leaks'
import { databaseOf, type DatabaseOrLater, hook } from './test-runner'

/**
 * Has each test of the file, or of the `describe` around it, fail if it ends with a connection out or a transaction open.
 * A connection that is just being given back is waited for, up to a second.
 *
 * Where the place in the program is to be named, set `pool.leakThresholdMillis` on the Database.
 *
 * @throws ConfigurationError outside of a test runner like jest
 * @example
 * expectNoLeaks(database)
 */
export function expectNoLeaks(...databases: readonly DatabaseOrLater[]): void {
  hook(
    'afterEach',
    'expectNoLeaks()',
  )(async () => {
    for (const given of databases) {
      const database = databaseOf(given)
      refuseLeaks(database, await leftOpen(database))
    }
  })
}
