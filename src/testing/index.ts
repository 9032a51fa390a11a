/** The library in tests: what each test does is rolled back, and what it leaves behind is found. */
export { rollbackEach } from './rollback-each'
export { expectNoLeaks } from './expect-no-leaks'
export type { DatabaseOrLater } from './test-runner'
