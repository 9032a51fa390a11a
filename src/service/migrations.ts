/** The migrations and seeds of the service's databases: where they are, and how the service runs them. */
import { mkdirSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Knex } from 'knex'
import { type Database, DatabaseURL, SerializationError } from '../database'

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
 * Brings a database up to date, and lets the seeds fill it if told so and if it is new: rows that somebody has deleted
 * do not come back. A second process that starts meanwhile waits for the first one, as long as a statement may take.
 *
 * @returns the names of the migrations that it ran
 */
export async function migrate(
  database: Database,
  folder: Folder,
  { seed = false }: { readonly seed?: boolean } = {},
): Promise<readonly string[]> {
  const alone = LOCKS[database.url.dialect] ?? inOneTransaction
  return alone(database, folder, async (knex) => {
    const [completed] = (await knex.migrate.list(migrationsFor(folder))) as [unknown[], unknown[]]
    const [, names] = (await knex.migrate.latest(migrationsFor(folder))) as [number, string[]]
    if (seed && completed.length === 0) await knex.seed.run(seedsFor(folder))
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

/** Runs work while no other process does the same. */
type Alone = <T>(database: Database, folder: Folder, work: (knex: Knex) => Promise<T>) => Promise<T>

const LOCKS: Readonly<Record<string, Alone>> = { postgresql: underAdvisoryLock }

/** The lock is the session's: one of a transaction would keep an index that is created concurrently waiting for ever. */
async function underAdvisoryLock<T>(
  database: Database,
  folder: Folder,
  work: (knex: Knex) => Promise<T>,
): Promise<T> {
  const name = `millpond migrations ${folder}`
  // A handle is not ambient, so that `work` does not join the connection that holds the lock.
  const keeper = await database.acquire()
  try {
    await keeper.fetchVal('select pg_advisory_lock(hashtextextended(:name, 0))', { name })
    try {
      return await work(database.knex)
    } finally {
      await keeper.fetchVal('select pg_advisory_unlock(hashtextextended(:name, 0))', { name })
    }
  } finally {
    await keeper.release()
  }
}

const PATIENCE_MILLIS = 60_000

/** SQLite's lock is a transaction. Tables can be made in one, so a process that is killed leaves nothing half done. */
async function inOneTransaction<T>(
  database: Database,
  folder: Folder,
  work: (knex: Knex) => Promise<T>,
): Promise<T> {
  const limit = performance.now() + PATIENCE_MILLIS
  for (;;) {
    try {
      return await database.knex.transaction(async (tx) => {
        // Makes Knex's tables, and then writes without a change: from there on all others are kept out.
        await tx.migrate.list(migrationsFor(folder))
        const { tableName } = migrationsFor(folder)
        await tx(`${tableName}_lock`).update({ is_locked: tx.ref('is_locked') })
        return work(tx)
      })
    } catch (error) {
      // Somebody else writes. Nothing of ours is kept, so look again at what is there.
      if (!(error instanceof SerializationError) || performance.now() > limit) throw error
      await sleep(100 * Math.random())
    }
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
