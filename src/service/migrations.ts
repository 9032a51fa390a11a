/** Finds and runs the migrations and seeds of the service's databases. */
import { mkdirSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import path from 'node:path'
import type { Knex } from 'knex'
import { type Database, DatabaseURL } from '../database'
import type { ServedDatabase } from '../express'
import { migrationState, readinessOf, refuseDiverged } from './migration-state'
import { ProgressLog } from './progress-log'

/** The folder of a database under `migrations/` and `seeds/`. */
export type Folder = 'main' | 'products'

/** True while this runs as TypeScript (Knex's command line, tests), false in dist/. */
const isSource = __filename.endsWith('.ts')

/** The project's root, or dist/: both have migrations/ and seeds/ beside src/. */
const base = path.resolve(__dirname, '..', '..')
const root = isSource ? base : path.dirname(base)

/** Returns Knex's configuration for migrations, whose names are the same as TypeScript and compiled. */
export function migrationsFor(folder: Folder): Knex.MigratorConfig {
  const directory = path.join(base, 'migrations', folder)
  // A table for each folder, so that both databases can be the same one.
  const tableName = `knex_migrations_${folder}`
  if (!isSource) return { tableName, migrationSource: new CompiledMigrations(directory) }
  const stub = path.join(base, 'migrations', 'migration.stub')
  return { tableName, directory, stub, extension: 'ts', loadExtensions: ['.ts'] }
}

/** Returns Knex's configuration for seeds. A seed does not change a table that has rows. */
export function seedsFor(folder: Folder): Knex.SeederConfig {
  return {
    directory: path.join(base, 'seeds', folder),
    stub: path.join(base, 'seeds', 'seed.stub'),
    extension: 'ts',
    loadExtensions: [isSource ? '.ts' : '.js'],
  }
}

export interface MigrateOptions {
  /** Runs the seeds if the database is new: rows that were deleted later do not come back. */
  readonly seed?: boolean
  /** Called with messages: what runs, for how long, and every few seconds what still runs. */
  readonly tell?: (message: string) => void
}

/**
 * Brings a database up to date. If several processes start at the same time, one does it and the others wait for it, however
 * long it takes. A process that is killed meanwhile does not block the others.
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

interface MigrationPlan {
  readonly name: string
  readonly migrations: Knex.MigratorConfig
  readonly seeds: Knex.SeederConfig | null
  readonly tell?: ((message: string) => void) | undefined
  readonly tellEveryMillis?: number
}

/** Brings a database up to date with any migrations: see {@link migrate}. */
export async function bringUpToDate(
  database: Database,
  { name, migrations: given, seeds, tell, tellEveryMillis }: MigrationPlan,
): Promise<readonly string[]> {
  // Knex's own check refuses a database that is ahead of this release.
  const migrations = { ...given, disableMigrationsListValidation: true }
  if (await isUpToDate(database, migrations)) return []
  const progress = new ProgressLog(tell ?? (() => undefined), tellEveryMillis)
  try {
    progress.start('waiting for another process to bring it up to date')
    return await database.exclusively(name, async () => {
      progress.start('looking for migrations')
      const { knex } = database
      refuseDiverged(database.name, await migrationState(database, migrations))
      const [completed, pending] = (await knex.migrate.list(migrations)) as [unknown[], unknown[]]
      await releaseLock(knex, migrations, tell)
      const migrationsWithHooks = { ...migrations, ...progress.hooks() }
      const unseededTable = unseededTableOf(migrations)
      const isUnseeded = await knex.schema.hasTable(unseededTable)
      const runMigrations = async (knexOrTransaction: Knex): Promise<readonly string[]> => {
        const [, names] = (await knexOrTransaction.migrate.latest(migrationsWithHooks)) as [number, string[]]
        return names
      }
      const runSeeds = async (knexOrTransaction: Knex): Promise<void> => {
        if (seeds === null || (completed.length > 0 && !isUnseeded)) return
        progress.start('the seeds')
        await knexOrTransaction.seed.run(seeds)
        await knexOrTransaction.schema.dropTableIfExists(unseededTable)
        progress.finish()
      }
      // Migrations and seeds run in one transaction, if the migrations allow it, so that a killed process leaves nothing
      // half done. Foreign keys are checked at its end only: else rebuilding a table on SQLite would delete rows that refer
      // to it.
      if (await areTransactional(migrations, pending)) {
        const runAll = async (knexOrTransaction: Knex): Promise<readonly string[]> => {
          const names = await runMigrations(knexOrTransaction)
          await runSeeds(knexOrTransaction)
          return names
        }
        return knex.transaction(runAll, { enforceForeignCheck: false } as Knex.TransactionConfig)
      }
      if (seeds !== null && completed.length === 0 && !isUnseeded)
        await knex.schema.createTable(unseededTable, (table) => table.integer('id'))
      const names = await runMigrations(knex)
      await knex.transaction(runSeeds)
      return names
    })
  } finally {
    progress.stop()
  }
}

/**
 * Returns the name of the table that exists while a new database waits for its seeds. Migrations without a transaction are
 * recorded as done before the seeds are, so that a process that is killed in between would leave the database unseeded.
 */
function unseededTableOf({ tableName = '' }: Knex.MigratorConfig): string {
  return `${tableName}_unseeded`
}

/** Returns whether nothing is left to do, not even a lock to release, as at nearly every start. It takes five queries. */
async function isUpToDate(database: Database, migrations: Knex.MigratorConfig): Promise<boolean> {
  const { knex } = database
  const lockTable = `${migrations.tableName ?? ''}_lock`
  // Knex makes this table last.
  if (!(await knex.schema.hasTable(lockTable))) return false
  const locks = (await knex(lockTable).pluck('is_locked')) as number[]
  if (locks.length !== 1 || locks[0] !== 0) return false
  const { pending } = await migrationState(database, migrations)
  return pending.length === 0 && !(await knex.schema.hasTable(unseededTableOf(migrations)))
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
 * Releases Knex's own migration lock, which a process leaves behind if it is killed in a migration without a transaction.
 * This is safe, because the caller holds the lock of `exclusively`, so no other service is migrating.
 */
async function releaseLock(
  knex: Knex,
  migrations: Knex.MigratorConfig,
  tell: MigrationPlan['tell'],
): Promise<void> {
  const locked: unknown = await knex(`${migrations.tableName}_lock`).where({ is_locked: 1 }).first()
  if (locked === undefined) return
  tell?.('a process has ended while it ran migrations: its lock is released')
  await knex.migrate.forceFreeMigrationsLock(migrations)
}

/** Returns a database for `serve` and `health`: it is ready once the migrations of this release have been run. */
export function servedDatabase(database: Database, folder: Folder): ServedDatabase {
  const migrations = migrationsFor(folder)
  return { database, check: async () => readinessOf(await migrationState(database, migrations)) }
}

/** Makes the folder data/ if the database is in it. Any other folder has to exist. */
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
