/** The library in tests: rolls each test back, and finds connections and transactions that a test leaves open. */
export { rollbackEach } from './rollback-each'
export { inTests, rolledBack, type RolledBackTest } from './rolled-back'
export { expectNoLeaks } from './expect-no-leaks'
export type { DatabaseOrLater, TestHooks } from './test-runner'
