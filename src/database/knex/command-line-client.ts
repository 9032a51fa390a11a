/** Knex's client for its command line. It runs on this library's sessions, so values are read and stored alike. */
import type { Knex } from 'knex'
import { Limits } from '../context/limits'
import { Mutex } from '../context/mutex'
import type { Settings } from '../options'
import type { Dialect } from '../driver/dialect'
import type { Session } from '../driver/session'
import type { KnexQuery } from '../sql/builder-compiler'
import { Compiler } from '../sql/compiler'

const SESSION = Symbol('millpond')

/** The driver's connection, which Knex hands to its users. */
interface Raw {
  readonly [SESSION]: { readonly session: Session; readonly turns: Mutex }
}

/** Returns the client's class. `setUp` holds statements that run on each new connection. */
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
      return Object.assign(session.raw, { [SESSION]: { session, turns: new Mutex() } })
    }

    override destroyRawConnection(raw: Raw): Promise<void> {
      return raw[SESSION].session.close()
    }

    async _query(raw: Raw, query: KnexQuery): Promise<KnexQuery> {
      if (!query.sql) throw new Error('The query is empty')
      const { session, turns } = raw[SESSION]
      const statement = compiler.fromKnex(query)
      // A migration may run several statements at the same time.
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
