/** Finds the hooks of the test runner: those of jest, vitest or node:test, or those that the caller gives. */
import type * as NodeTest from 'node:test'
import { ConfigurationError, type Database } from '../database'

/** A Database, or a function that returns it when a test begins, for one that is made in `beforeAll`. */
export type DatabaseOrLater = Database | (() => Database)

type RegisterHook = (hook: () => Promise<void>) => unknown

/** The hooks of a test runner, such as the module `vitest`, `@jest/globals` or `node:test`. */
export interface TestHooks {
  readonly beforeEach: RegisterHook
  readonly afterEach: RegisterHook
}

/**
 * Separates the hooks from the databases.
 *
 * @throws ConfigurationError when no hooks are given, and none are found
 */
export function databasesAndHooks(
  given: readonly (DatabaseOrLater | TestHooks)[],
  caller: string,
): { readonly databases: readonly DatabaseOrLater[]; readonly hooks: TestHooks } {
  const databases = given.filter((one): one is DatabaseOrLater => !isHooks(one))
  const hooks = given.find(isHooks) ?? hooksOfRunner()
  if (hooks !== undefined) return { databases, hooks }
  throw new ConfigurationError(
    `${caller} registers hooks of the test runner, and there are no global ones, nor those of vitest or node:test. ` +
      'Call it in a test file, outside of the tests, or give it { beforeEach, afterEach }.',
  )
}

export function databaseOf(database: DatabaseOrLater): Database {
  return typeof database === 'function' ? database() : database
}

function isHooks(given: unknown): given is TestHooks {
  const { beforeEach, afterEach } = given as Partial<TestHooks>
  return typeof beforeEach === 'function' && typeof afterEach === 'function'
}

function hooksOfRunner(): TestHooks | undefined {
  const globals: unknown = globalThis
  if (isHooks(globals)) return globals
  // The module `vitest`, which can only be imported, and so not from here. Tried with vitest 3.2 and 4.1.
  const { __vitest_index__: vitest } = globalThis as { __vitest_index__?: unknown }
  if (vitest !== undefined && isHooks(vitest)) return vitest
  // The modules that Node has loaded. Hooks of node:test that the program does not use would never run. Tried with Node
  // 20, 22, 24 and 26.
  const { moduleLoadList } = process as { moduleLoadList?: readonly string[] }
  if (moduleLoadList?.includes('NativeModule test') !== true) return undefined
  return require('node:test') as typeof NodeTest
}
