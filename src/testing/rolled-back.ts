/** Runs a test in transactions of its own, with the requests that it makes, so that tests can run at the same time. */
import { randomUUID } from 'node:crypto'
import type { RequestListener } from 'node:http'
import { currentFrame, type Frame } from '../database'
import { databaseOf, type DatabaseOrLater } from './test-runner'

/** Names the test that a request belongs to. Only {@link inTests} reads it, which no program mounts. */
const TEST_HEADER = 'x-millpond-test'

/** The tests that run now, by the value of their header. */
const running = new Map<string, Frame>()

export interface RolledBackTest {
  /** The headers of a request to {@link inTests} that belongs to the test. */
  readonly headers: Readonly<Record<string, string>>
}

/**
 * Returns a test that runs `work` in a transaction of its own on each database, which is rolled back at the end. Tests of one
 * process may run at the same time: each sees what it has written, and nothing of the others. The databases must be
 * connected. On PostgreSQL, a test that writes a unique key that another one has written waits until that one has ended.
 *
 * `databases`: one, several, or functions that return them when the test begins.
 *
 * @example
 * test.concurrent('creates a user', rolledBack(database, async () => {
 *   await request(app).post('/users').send({ username: 'ada' }).expect(201)
 *   expect(await database.fetchVal('SELECT count(*) FROM users')).toBe(1)
 * }))
 */
export function rolledBack(
  databases: DatabaseOrLater | readonly DatabaseOrLater[],
  work: (test: RolledBackTest) => Promise<void>,
): () => Promise<void> {
  return () => runIn([databases].flat(), work)
}

async function runIn(
  databases: readonly DatabaseOrLater[],
  work: (test: RolledBackTest) => Promise<void>,
): Promise<void> {
  const [first, ...others] = databases
  if (first !== undefined)
    return databaseOf(first).forceRollback(() => runIn(others, work), { inScope: true })
  const id = randomUUID()
  running.set(id, currentFrame())
  try {
    await work({ headers: { [TEST_HEADER]: id } })
  } finally {
    running.delete(id)
  }
}

/**
 * Returns a request listener for a server that several tests share: a request that carries the headers of a running test is
 * handled in that test's transactions, any other one as usual. Not needed for `request(app)` of supertest, which starts a
 * server within the test.
 *
 * @example
 * const server = createServer(inTests(app)).listen()
 * // in a test:
 * await fetch(url, { headers })
 */
export function inTests(app: RequestListener): RequestListener {
  return (request, response) => {
    const frame = running.get(String(request.headers[TEST_HEADER]))
    if (frame === undefined) app(request, response)
    else frame.run(() => app(request, response))
  }
}
