/** After all tests: stops the PostgreSQL that the set-up started. */
export default async function globalTeardown(): Promise<void> {
  if (!globalThis.startedPostgres) return
  await globalThis.startedPostgres.stop()
  globalThis.startedPostgres = undefined
  // In watch mode the next run shall start its own.
  delete process.env['TEST_DATABASE_URLS']
}
