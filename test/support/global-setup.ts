/** Before all tests: settles which databases they run on, and starts a PostgreSQL unless TEST_DATABASE_URLS names some. */
import { type PostgresServer, startPostgres } from './postgres-server'

declare global {
  var startedPostgres: PostgresServer | undefined
}

export default async function globalSetup(): Promise<void> {
  if (process.env['TEST_DATABASE_URLS']) return
  const server = await startPostgres()
  globalThis.startedPostgres = server
  // Jest's workers inherit the environment; it is the only thing that crosses over to them.
  process.env['TEST_DATABASE_URLS'] = `sqlite://,${server.url}`
}
