/** Compares the migrations of this release with those that a database has run: releases take turns, and run side by side. */
import { readdir } from 'node:fs/promises'
import path from 'node:path'
import type { Knex } from 'knex'
import type { Database } from '../database'
import type { Readiness } from '../express'

export interface MigrationState {
  /** Migrations of this release that the database has not run. */
  readonly pending: readonly string[]
  /** Migrations that the database has run and this release does not have: those of a newer one. */
  readonly unknown: readonly string[]
}

/** Reads the state, in two queries. Changes nothing, even in a database without Knex's tables. */
export async function migrationState(
  { knex }: Database,
  migrations: Knex.MigratorConfig,
): Promise<MigrationState> {
  const { tableName = '' } = migrations
  const isThere = await knex.schema.hasTable(tableName)
  const completed = isThere ? ((await knex(tableName).orderBy('id').pluck('name')) as string[]) : []
  return stateOf(await namesOf(migrations), completed)
}

function stateOf(names: readonly string[], completed: readonly string[]): MigrationState {
  return {
    pending: names.filter((name) => !completed.includes(name)),
    unknown: completed.filter((name) => !names.includes(name)),
  }
}

/** Returns the names of all migrations of this release, in their order. */
async function namesOf({ directory, loadExtensions = [], migrationSource }: Knex.MigratorConfig) {
  if (migrationSource !== undefined) {
    const all: unknown[] = await migrationSource.getMigrations(loadExtensions)
    return all.map((migration) => migrationSource.getMigrationName(migration))
  }
  const files = await readdir(String(directory))
  return files.filter((file) => loadExtensions.includes(path.extname(file))).toSorted()
}

/** Two releases that have each a migration that the other one lacks: neither follows the other. */
export class DivergedError extends Error {
  constructor(name: string, { pending, unknown }: MigrationState) {
    super(
      `database ${name} has run migrations that this release does not have (${unknown.join(', ')}), and lacks some of this ` +
        `release (${pending.join(', ')}). Nothing was migrated. Start the release that has all of them.`,
    )
    this.name = 'DivergedError'
  }
}

/**
 * @throws DivergedError for migrations that would run on tables which nobody has tried them on. Knex refuses a database that
 * is only ahead as well, which would keep an older release from starting again beside a newer one.
 */
export function refuseDiverged(name: string, state: MigrationState): void {
  if (state.pending.length > 0 && state.unknown.length > 0) throw new DivergedError(name, state)
}

/** A database is ready once all migrations of this release have been run. Those of a newer release are for information. */
export function readinessOf({ pending, unknown }: MigrationState): Readiness {
  if (pending.length > 0)
    return { ready: false, detail: `migrations have not been run: ${pending.join(', ')}` }
  return unknown.length > 0
    ? { ready: true, detail: `migrations of a newer release have been run: ${unknown.join(', ')}` }
    : { ready: true }
}
