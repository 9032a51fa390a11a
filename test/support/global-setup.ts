/**
 * Before all tests: compiles what they start as processes, settles which databases they run on, and starts a PostgreSQL
 * unless TEST_DATABASE_URLS names some.
 */
import { compile } from './compiled'
import { type PostgresServer, startPostgres } from './postgres-server'

declare global {
  var startedPostgres: PostgresServer | undefined
}

export default async function globalSetup(): Promise<void> {
  const starting = process.env['TEST_DATABASE_URLS'] ? undefined : startPostgres()
  const [compiled, server] = await Promise.all([compile(), starting])
  // Jest's workers inherit the environment; it is the only thing that crosses over to them.
  process.env['TEST_COMPILED'] = compiled
  if (server === undefined) return
  globalThis.startedPostgres = server
  process.env['TEST_POSTGRES_KIT'] = JSON.stringify(server.kit)
  process.env['TEST_DATABASE_URLS'] = `sqlite://,${server.url}`
}
