/** The library in tests: rolls each test back, and finds connections and transactions that a test leaves open. */
export { rollbackEach } from './rollback-each'
export { expectNoLeaks } from './expect-no-leaks'
export type { DatabaseOrLater } from './test-runner'
