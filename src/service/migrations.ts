/** The migrations and seeds of the service's databases: where they are, and how the service runs them. */
import { mkdirSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import path from 'node:path'
import type { Knex } from 'knex'
import { type Database, DatabaseURL } from '../database'

/** A database of the service, by its folder under `migrations/` and `seeds/`. */
export type Folder = 'main' | 'products'

/** True as TypeScript (Knex's command line, tests), false in dist/. */
const isSource = __filename.endsWith('.ts')

/** The project's root, or dist/: migrations/ and seeds/ lie beside src/ in both. */
const base = path.resolve(__dirname, '..', '..')
const root = isSource ? base : path.dirname(base)

/** The migrations of a database, under the same names whether they run as TypeScript or compiled. */
export function migrationsFor(folder: Folder): Knex.MigratorConfig {
  const directory = path.join(base, 'migrations', folder)
  // A table for each folder, so that both databases can be the same one.
  const tableName = `knex_migrations_${folder}`
  if (!isSource) return { tableName, migrationSource: new CompiledMigrations(directory) }
  const stub = path.join(base, 'migrations', 'migration.stub')
  return { tableName, directory, stub, extension: 'ts', loadExtensions: ['.ts'] }
}

/** The seeds of a database. Each of them leaves a table alone that has rows already. */
export function seedsFor(folder: Folder): Knex.SeederConfig {
  return {
    directory: path.join(base, 'seeds', folder),
    stub: path.join(base, 'seeds', 'seed.stub'),
    extension: 'ts',
    loadExtensions: [isSource ? '.ts' : '.js'],
  }
}

/**
 * Brings a database up to date, and lets the seeds fill its empty tables if told so. A second process that starts
 * meanwhile waits for the first one, as long as a statement may take.
 *
 * @returns the names of the migrations that it ran
 */
export async function migrate(
  database: Database,
  folder: Folder,
  { seed = false }: { readonly seed?: boolean } = {},
): Promise<readonly string[]> {
  return oneAtATime(database, `millpond migrations ${folder}`, async () => {
    const [, names] = await database.knex.migrate.latest(migrationsFor(folder))
    if (seed) await database.knex.seed.run(seedsFor(folder))
    return names
  })
}

/** The migrations that a database has not seen yet. Changes nothing, not even where none was ever run. */
export async function pendingMigrations(database: Database, folder: Folder): Promise<readonly string[]> {
  const config = migrationsFor(folder)
  const { knex } = database
  const wasEverMigrated = config.tableName !== undefined && (await knex.schema.hasTable(config.tableName))
  if (!wasEverMigrated) return ['all of them']
  const [, pending] = (await knex.migrate.list(config)) as [unknown, readonly (Migration | string)[]]
  return pending.map((migration) => (typeof migration === 'string' ? migration : migration.file))
}

/** Statements that keep other processes out; SQLite has none, its file keeps writers apart. */
const LOCKS: Readonly<Record<string, { readonly take: string; readonly give: string }>> = {
  // Of the session: one of a transaction would keep a migration that creates an index concurrently waiting for ever.
  postgresql: {
    take: 'select pg_advisory_lock(hashtextextended(:name, 0))',
    give: 'select pg_advisory_unlock(hashtextextended(:name, 0))',
  },
}

async function oneAtATime<T>(database: Database, name: string, work: () => Promise<T>): Promise<T> {
  const lock = LOCKS[database.url.dialect]
  if (!lock) return work()
  // A handle is not ambient, so that `work` does not join the connection that holds the lock.
  const keeper = await database.acquire()
  try {
    await keeper.fetchVal(lock.take, { name })
    try {
      return await work()
    } finally {
      await keeper.fetchVal(lock.give, { name })
    }
  } finally {
    await keeper.release()
  }
}

/** Makes the folder data/ if that is where the database is; any other place is its owner's to make. */
export function makeDataFolder(url: string): void {
  const dataFolder = path.join(root, 'data')
  const file = path.resolve(new DatabaseURL(url).database)
  if (path.dirname(file) === dataFolder) mkdirSync(dataFolder, { recursive: true })
}

interface Migration {
  /** Knex prints this member in `migrate:list`. */
  readonly file: string
}

/** Loads dist/migrations/*.js under the names of their sources, which is what Knex writes into its table. */
class CompiledMigrations implements Knex.MigrationSource<Migration> {
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
  }

  async getMigrations(): Promise<Migration[]> {
    const files = await readdir(this.#directory)
    return files
      .filter((file) => file.endsWith('.js'))
      .toSorted()
      .map((file) => ({ file: file.replace(/\.js$/, '.ts') }))
  }

  getMigrationName(migration: Migration): string {
    return migration.file
  }

  async getMigration(migration: Migration): Promise<Knex.Migration> {
    return require(path.join(this.#directory, migration.file.replace(/\.ts$/, '.js'))) as Knex.Migration
  }
}
