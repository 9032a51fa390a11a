/** Knex's client for its own command line: it runs on sessions of ours, so that values are stored and read as by a Database. */
import type { Knex } from 'knex'
import type { Settings } from '../options'
import type { Dialect, Session } from './dialect'
import type { KnexQuery } from './knex-host'
import { Compiler } from './statement'

/** `setUp`: statements to run on each new connection. */
export function commandLineClient(
  Base: typeof Knex.Client,
  dialect: Dialect,
  settings: Settings,
  setUp: readonly string[],
): typeof Knex.Client {
  const compiler = new Compiler(dialect)
  return class CommandLineClient extends Base {
    override async acquireRawConnection(): Promise<Session> {
      const { signal } = new AbortController()
      const session = await dialect.open(await dialect.dial(this, signal), settings, signal)
      await session.reset(true)
      for (const sql of setUp) await session.run(compiler.plain(sql))
      return session
    }

    override destroyRawConnection(session: Session): Promise<void> {
      return session.close()
    }

    async _query(session: Session, query: KnexQuery): Promise<KnexQuery> {
      if (!query.sql) throw new Error('The query is empty')
      const { forKnex } = await session.run(compiler.fromKnex(query))
      return Object.assign(query, forKnex)
    }
  }
}
