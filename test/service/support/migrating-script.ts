/** A process that migrates a database, and can wait in the middle to be killed. Prints its steps. */
import type { Knex } from 'knex'
import { Database } from '../../../src/database'
import { bringUpToDate } from '../../../src/service/migrations'

export interface MigratingScript {
  readonly url: string
  /** The migration, or the seed, in the middle of which it waits to be killed. */
  readonly stopsIn?: 'first' | 'second' | 'plain' | 'seed'
  /** Whether there is one without a transaction. */
  readonly hasPlain: boolean
  /** Whether a new database is filled. */
  readonly hasSeed?: boolean
}

const { url, stopsIn, hasPlain, hasSeed } = JSON.parse(process.argv[2] ?? '{}') as MigratingScript
const say = (line: string): void => void process.stdout.write(`${line}\n`)

/** Creates a table, and hangs if this migration is to be killed. One without a transaction must tolerate its own half. */
function making(name: string, transaction: boolean): Knex.Migration {
  const up = async (knex: Knex): Promise<void> => {
    if (transaction) await knex.raw(`create table ${name} (id integer)`)
    else await knex.raw(`create table if not exists ${name} (id integer)`)
    if (stopsIn !== name) return
    say('in the middle')
    await new Promise((resolve) => setTimeout(resolve, 600_000))
  }
  const migration = { up, down: () => Promise.resolve(), config: { transaction } }
  return migration
}

const ALL: Record<string, Knex.Migration> = {
  first: making('first', true),
  second: making('second', true),
  ...(hasPlain && { plain: making('plain', false) }),
}

const migrations: Knex.MigratorConfig = {
  tableName: 'knex_migrations_test',
  migrationSource: {
    getMigrations: () => Promise.resolve(Object.keys(ALL)),
    getMigrationName: (name: string) => name,
    getMigration: (name: string) => Promise.resolve(ALL[name]),
  } as Knex.MigrationSource<string>,
}

const seeds: Knex.SeederConfig = {
  seedSource: {
    getSeeds: () => Promise.resolve(['seed']),
    getSeed: () => Promise.resolve({ seed: fill }),
  },
}

async function fill(knex: Knex): Promise<void> {
  await knex('first').insert({ id: 1 })
  if (stopsIn !== 'seed') return
  say('in the middle')
  await new Promise((resolve) => setTimeout(resolve, 600_000))
}

async function migrate(): Promise<void> {
  const database = new Database(url)
  await database.connect()
  const names = await bringUpToDate(database, {
    name: 'test',
    migrations,
    seeds: hasSeed === true ? seeds : null,
    tell: say,
    tellEveryMillis: 100,
  })
  say(`ran ${names.join(', ') || 'nothing'}`)
  await database.disconnect()
}

migrate().catch((error: unknown) => {
  process.stderr.write(String(error))
  process.exit(1)
})
