/** What the Knex command line works on: the main database, or the one of the products with `--env products`. */
import type { Knex } from 'knex'
import { knexConfig } from './src/database'
import { databaseUrls } from './src/service/config'
import { type Folder, makeDataFolder, migrationsFor, seedsFor } from './src/service/migrations'

const urls = databaseUrls()

function config(folder: Folder): Knex.Config {
  makeDataFolder(urls[folder])
  return { ...knexConfig(urls[folder]), migrations: migrationsFor(folder), seeds: seedsFor(folder) }
}

const main = config('main')

// Knex looks here for what NODE_ENV names, and takes the whole object for a configuration when it finds nothing.
const environments: Record<string, Knex.Config> = {
  development: main,
  test: main,
  production: main,
  main,
  products: config('products'),
}

export default environments
