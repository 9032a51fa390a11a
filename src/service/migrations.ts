/** The migrations and seeds of the service's databases: where they are, and how the service runs them. */
import { mkdirSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import path from 'node:path'
import type { Knex } from 'knex'
import { type Database, DatabaseURL } from '../database'
import { Progress } from './progress-log'

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

export interface MigrateOptions {
  /** Lets the seeds fill it, if it is new: rows that somebody has deleted do not come back. */
  readonly seed?: boolean
  /** Told what is run, for how long, and every few seconds what goes on. */
  readonly tell?: (message: string) => void
}

/**
 * Brings a database up to date. Of several processes that start at the same time one does it, and the others wait, for
 * as long as that takes. One that is killed in the middle keeps nobody out.
 *
 * @returns the names of the migrations that it ran
 */
export function migrate(
  database: Database,
  folder: Folder,
  { seed = false, tell }: MigrateOptions = {},
): Promise<readonly string[]> {
  const name = `millpond migrations ${folder}`
  const seeds = seed ? seedsFor(folder) : null
  return bringUpToDate(database, { name, migrations: migrationsFor(folder), seeds, tell })
}

interface Steps {
  readonly name: string
  readonly migrations: Knex.MigratorConfig
  readonly seeds: Knex.SeederConfig | null
  readonly tell?: ((message: string) => void) | undefined
  readonly tellEveryMillis?: number
}

/** The same for any migrations. */
export async function bringUpToDate(
  database: Database,
  { name, migrations, seeds, tell, tellEveryMillis }: Steps,
): Promise<readonly string[]> {
  if (await isUpToDate(database, migrations)) return []
  const progress = new Progress(tell ?? (() => undefined), tellEveryMillis)
  try {
    progress.begins('waiting for another process to bring it up to date')
    return await database.exclusively(name, async () => {
      progress.begins('looking for migrations')
      const { knex } = database
      const [completed, pending] = (await knex.migrate.list(migrations)) as [unknown[], unknown[]]
      await releaseLock(knex, migrations, tell)
      const told = { ...migrations, ...progress.hooks() }
      const unseeded = unseededOf(migrations)
      const isUnseeded = await knex.schema.hasTable(unseeded)
      const work = async (on: Knex): Promise<readonly string[]> => {
        const [, names] = (await on.migrate.latest(told)) as [number, string[]]
        return names
      }
      const fill = async (on: Knex): Promise<void> => {
        if (seeds === null || (completed.length > 0 && !isUnseeded)) return
        progress.begins('the seeds')
        await on.seed.run(seeds)
        await on.schema.dropTableIfExists(unseeded)
        progress.ends()
      }
      // With the seeds in one transaction, if the migrations can be: a process that is killed leaves nothing half done.
      // On SQLite, to make a table anew would delete the rows that refer to it, unless that is looked at in the end only.
      if (await areTransactional(migrations, pending)) {
        const whole = async (on: Knex): Promise<readonly string[]> => {
          const names = await work(on)
          await fill(on)
          return names
        }
        return knex.transaction(whole, { enforceForeignCheck: false } as Knex.TransactionConfig)
      }
      if (seeds !== null && completed.length === 0 && !isUnseeded)
        await knex.schema.createTable(unseeded, (table) => table.integer('id'))
      const names = await work(knex)
      await knex.transaction(fill)
      return names
    })
  } finally {
    progress.stop()
  }
}

/**
 * The table whose being there says that a new database waits for its seeds. Migrations that run without a transaction are
 * known to be done before the seeds are, to other processes, and to the next one when this one is killed.
 */
function unseededOf({ tableName = '' }: Knex.MigratorConfig): string {
  return `${tableName}_unseeded`
}

/** Whether nothing is left to do, not even a lock to release: so it is at nearly every start, and four questions tell. */
async function isUpToDate({ knex }: Database, migrations: Knex.MigratorConfig): Promise<boolean> {
  const { tableName = '', migrationSource: source } = migrations
  // The table that Knex makes last.
  if (source === undefined || !(await knex.schema.hasTable(`${tableName}_lock`))) return false
  const locks = (await knex(`${tableName}_lock`).pluck('is_locked')) as number[]
  const completed = (await knex(tableName).orderBy('id').pluck('name')) as string[]
  const all = (await source.getMigrations([])).map((migration) => source.getMigrationName(migration))
  if (locks.length !== 1 || locks[0] !== 0 || all.join() !== completed.join()) return false
  return !(await knex.schema.hasTable(unseededOf(migrations)))
}

async function areTransactional(
  migrations: Knex.MigratorConfig,
  pending: readonly unknown[],
): Promise<boolean> {
  const { migrationSource: source } = migrations
  // Its types leave out what a migration may say about itself.
  const modules: { readonly config?: { readonly transaction?: boolean } }[] = await Promise.all(
    pending.map(async (migration) =>
      source === undefined
        ? (require(path.join(String(migrations.directory), (migration as Migration).file)) as object)
        : ((await source.getMigration(migration)) as object),
    ),
  )
  return modules.every(({ config }) => config?.transaction !== false)
}

/**
 * Knex writes into a table that it is migrating, and a process that is killed in a migration without a transaction leaves
 * that there: `npx knex migrate:unlock` is for people. Whoever is in here knows that no other service is.
 */
async function releaseLock(knex: Knex, migrations: Knex.MigratorConfig, tell: Steps['tell']): Promise<void> {
  const locked: unknown = await knex(`${migrations.tableName}_lock`).where({ is_locked: 1 }).first()
  if (locked === undefined) return
  tell?.('a process has ended while it ran migrations: its lock is released')
  await knex.migrate.forceFreeMigrationsLock(migrations)
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
