/**
 * How the tests run: one project; a database test runs once per database (test/support/each-database.ts).
 *
 * @jest-config-loader esbuild-register
 */
import { availableParallelism } from 'node:os'
import type { Config } from 'jest'

const config: Config = {
  testEnvironment: '<rootDir>/test/support/environment.cjs',
  moduleNameMapper: { '^@appthreat/sqlite3$': '<rootDir>/test/support/appthreat.cjs' },
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  // They install the package and its users' tools from the registry: npm run test:package.
  testPathIgnorePatterns: ['/node_modules/', ...(process.env['TEST_PACKAGE'] ? [] : ['/test/package/'])],
  modulePathIgnorePatterns: ['<rootDir>/dist/', '<rootDir>/package/'],
  transform: {
    '\\.ts$': [
      '@swc/jest',
      {
        // Node 20 does not know `await using`; with this target swc writes it out.
        jsc: { target: 'es2023', parser: { syntax: 'typescript' } },
        module: { type: 'commonjs' },
        sourceMaps: 'inline',
      },
    ],
  },
  testSequencer: '<rootDir>/test/support/sequencer.cjs',
  globalSetup: '<rootDir>/test/support/global-setup.ts',
  globalTeardown: '<rootDir>/test/support/global-teardown.ts',
  // Jest's own default is a single worker on two cores.
  maxWorkers: Math.max(2, Math.floor(availableParallelism() / 2)),
  // Only for what hangs: a busy machine may take several times as long as another.
  testTimeout: 90_000,
  coverageProvider: 'v8',
  collectCoverageFrom: ['src/**/*.ts'],
}

module.exports = config
