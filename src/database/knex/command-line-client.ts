/** Knex's client for its own command line: it runs on sessions of ours, so that values are stored and read as by a Database. */
import type { Knex } from 'knex'
import { Limits } from '../context/limits'
import { Mutex } from '../context/mutex'
import type { Settings } from '../options'
import type { Dialect } from '../driver/dialect'
import type { Session } from '../driver/session'
import type { KnexQuery } from '../sql/compiler'
import { Compiler } from '../sql/compiler'

const HELD = Symbol('millpond')

/** The driver's connection, which is what Knex hands to its users. */
interface Raw {
  readonly [HELD]: { readonly session: Session; readonly turns: Mutex }
}

/** `setUp`: statements to run on each new connection. */
export function commandLineClient(
  dialect: Dialect,
  settings: Settings,
  setUp: readonly string[],
): typeof Knex.Client {
  const compiler = new Compiler(dialect)
  return class CommandLineClient extends dialect.Client {
    override async acquireRawConnection(): Promise<Raw> {
      const { signal } = new AbortController()
      const session = await dialect.open(await dialect.dial(this, signal), settings, signal)
      await session.reset(true)
      for (const sql of setUp) await session.run(compiler.plain(sql))
      return Object.assign(session.raw, { [HELD]: { session, turns: new Mutex() } })
    }

    override destroyRawConnection(raw: Raw): Promise<void> {
      return raw[HELD].session.close()
    }

    async _query(raw: Raw, query: KnexQuery): Promise<KnexQuery> {
      if (!query.sql) throw new Error('The query is empty')
      const { session, turns } = raw[HELD]
      const statement = compiler.fromKnex(query)
      // A migration may ask for several at the same time.
      const unlock = await turns.lock(Limits.none)
      try {
        const { forKnex } = await session.run(statement)
        return Object.assign(query, forKnex)
      } finally {
        unlock()
      }
    }
  }
}
