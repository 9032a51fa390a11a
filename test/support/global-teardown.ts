/** After all tests: stops the PostgreSQL that the set-up started, and deletes what it compiled. */
import { rm } from 'node:fs/promises'
import { compiledFolder } from './compiled'

export default async function globalTeardown(): Promise<void> {
  await rm(compiledFolder(), { recursive: true, force: true })
  if (!globalThis.startedPostgres) return
  await globalThis.startedPostgres.stop()
  globalThis.startedPostgres = undefined
  // In watch mode the next run starts its own.
  delete process.env['TEST_DATABASE_URLS']
  delete process.env['TEST_POSTGRES_KIT']
}
