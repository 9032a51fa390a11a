/** Rolls back what each test has done, whether by its own queries or by the requests that it makes. */
import type { Database } from '../database'
import { leftOpen, refuseLeaks } from './leaks'
import { databaseOf, type DatabaseOrLater, hook } from './test-runner'

/**
 * Runs each test of the file, or of the `describe` around it, in one transaction per database, which is rolled back at
 * the test's end. Everything runs in it that the process does on these databases: queries of the test, and those of the
 * application that supertest talks to, its transactions included, which become savepoints. A database that is not
 * connected is connected for the test.
 *
 * What a rollback does not bring back stays: sequences go on, so expect no particular ids. Requests of one test take
 * turns on the one connection, so that what is to run at the same time cannot be tested so.
 *
 * A test that leaves a transaction or connection open fails.
 *
 * @throws ConfigurationError outside of a test runner like jest
 * @example
 * rollbackEach(database)
 *
 * it('creates a user', async () => {
 *   await request(app).post('/users').send({ username: 'ada' }).expect(201)
 * })
 */
export function rollbackEach(...databases: readonly DatabaseOrLater[]): void {
  let begun: RolledBack[] = []
  hook(
    'beforeEach',
    'rollbackEach()',
  )(async () => {
    begun = []
    for (const database of databases) begun.push(await RolledBack.begin(databaseOf(database)))
  })
  hook(
    'afterEach',
    'rollbackEach()',
  )(async () => {
    const errors: unknown[] = []
    for (const one of begun.toReversed()) await one.end().catch((error: unknown) => errors.push(error))
    if (errors.length > 0) throw errors[0]
  })
}

class RolledBack {
  readonly #database: Database
  readonly #disconnects: boolean
  #finish: () => void = () => undefined
  #rolledBack: Promise<void> = Promise.resolve()

  private constructor(database: Database) {
    this.#database = database
    this.#disconnects = !database.isConnected
  }

  static async begin(database: Database): Promise<RolledBack> {
    const rolledBack = new RolledBack(database)
    await database.connect()
    await rolledBack.#begin()
    return rolledBack
  }

  #begin(): Promise<void> {
    const finished = new Promise<void>((resolve) => {
      this.#finish = resolve
    })
    return new Promise((begun, failed) => {
      this.#rolledBack = this.#database.forceRollback(() => {
        begun()
        return finished
      })
      this.#rolledBack.catch(failed)
    })
  }

  async end(): Promise<void> {
    const left = await leftOpen(this.#database)
    this.#finish()
    await this.#rolledBack
    if (this.#disconnects) await this.#database.disconnect()
    refuseLeaks(this.#database, left)
  }
}
