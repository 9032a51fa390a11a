/** Rolls back what each test has written, by its own queries or by requests to the application. */
import type { Database } from '../database'
import { unreleasedHolders, throwIfLeaked } from './leaks'
import { databaseOf, type DatabaseOrLater, databasesAndHooks, type TestHooks } from './test-runner'

/**
 * Runs each test of the file, or of the `describe` around it, in one transaction per database, which is rolled back at
 * the test's end. It includes everything that the process does on these databases: queries of the test, and those of the
 * application that supertest talks to. Transactions of the application become savepoints. A database that is not connected
 * is connected for the test.
 *
 * A rollback does not reset sequences, so expect no particular ids. The requests of one test take turns on one connection,
 * so queries that have to run at the same time cannot be tested this way.
 *
 * A test that leaves a transaction or connection open fails.
 *
 * The hooks are those of jest, vitest or node:test, or of any runner that has them as globals; others can be given, as in
 * `rollbackEach(database, { beforeEach, afterEach })`.
 *
 * @throws ConfigurationError outside of a test runner
 * @example
 * rollbackEach(database)
 *
 * it('creates a user', async () => {
 *   await request(app).post('/users').send({ username: 'ada' }).expect(201)
 * })
 */
export function rollbackEach(...given: readonly (DatabaseOrLater | TestHooks)[]): void {
  const { databases, hooks } = databasesAndHooks(given, 'rollbackEach()')
  let transactions: TestTransaction[] = []
  hooks.beforeEach(async () => {
    transactions = []
    for (const database of databases) transactions.push(await TestTransaction.begin(databaseOf(database)))
  })
  hooks.afterEach(async () => {
    const errors: unknown[] = []
    for (const one of transactions.toReversed()) await one.end().catch((error: unknown) => errors.push(error))
    if (errors.length > 0) throw errors[0]
  })
}

class TestTransaction {
  readonly #database: Database
  readonly #disconnects: boolean
  #finish: () => void = () => undefined
  #rolledBack: Promise<void> = Promise.resolve()

  private constructor(database: Database) {
    this.#database = database
    this.#disconnects = !database.isConnected
  }

  static async begin(database: Database): Promise<TestTransaction> {
    const transaction = new TestTransaction(database)
    await database.connect()
    await transaction.#begin()
    return transaction
  }

  #begin(): Promise<void> {
    const finished = new Promise<void>((resolve) => {
      this.#finish = resolve
    })
    return new Promise((resolve, reject) => {
      this.#rolledBack = this.#database.forceRollback(() => {
        resolve()
        return finished
      })
      this.#rolledBack.catch(reject)
    })
  }

  async end(): Promise<void> {
    const left = await unreleasedHolders(this.#database)
    this.#finish()
    await this.#rolledBack
    if (this.#disconnects) await this.#database.disconnect()
    throwIfLeaked(this.#database, left)
  }
}
