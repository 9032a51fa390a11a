/** The Knex instance of a Database. */
import knex, { type Knex } from 'knex'
import type { Dialect } from '../driver/dialect'
import type { Settings } from '../options'
import type { DatabaseURL } from '../url'
import { HOST, type KnexHost } from './host'
import { leasedClient } from './leased-client'

/** Creates the Knex instance of a Database. Its statements run on connections that `host` lends. No I/O. */
export function createKnex(url: DatabaseURL, dialect: Dialect, settings: Settings, host: KnexHost): Knex {
  const base = dialect.knexConfig(url, settings)
  const overrides = settings.knex
  return knex({
    // Knex would write bound values into messages.
    compileSqlOnError: false,
    ...base,
    ...overrides,
    connection: { ...(base.connection as object), ...(overrides.connection as object | undefined) },
    client: leasedClient(dialect.Client),
    [HOST]: host,
  } as Knex.Config)
}
