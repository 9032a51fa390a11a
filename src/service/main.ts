/** The entry point: reads the configuration, makes the service, and serves it. */
import { Database, DatabaseError, DatabaseURL } from '../database'
import { ListenError, serve } from '../express'
import { createApp } from './app'
import { type Config, type DatabaseConfig, EnvironmentError, readConfig, VARIABLES } from './config'
import { deleteOldKeysHourly } from './idempotency'
import { createLogger, type Logger } from './logging'
import { DivergedError, migrationState } from './migration-state'
import { type Folder, makeDataFolder, migrate, migrationsFor, servedDatabase } from './migrations'
import { unsafeConnectionWarnings, misspeltSettingWarnings } from './startup-warnings'

async function start(): Promise<void> {
  const config = readConfig()
  const logger = createLogger(config.logLevel)
  for (const line of misspeltSettingWarnings(Object.keys(process.env), VARIABLES)) logger.warn(line)
  const main = openDatabase(config.main)
  const products = openDatabase(config.products)
  let stopDeletingKeys = (): Promise<void> => Promise.resolve()
  await serve(createApp({ main, products, logger, docs: config.docs }), {
    ...timeLimits(config),
    // Bodies have at most 100 kB, so no client needs longer.
    receiveTimeoutMillis: 30_000,
    host: config.host,
    port: config.port,
    admin: config.admin,
    databases: [servedDatabase(main, 'main'), servedDatabase(products, 'products')],
    onStartup: async () => {
      for (const database of [main, products])
        for (const line of unsafeConnectionWarnings(database.name, await database.security()))
          logger.warn(line)
      await migrateOrWarn(main, 'main', config.main, logger)
      await migrateOrWarn(products, 'products', config.products, logger)
      stopDeletingKeys = deleteOldKeysHourly(main, (error) =>
        logger.warn({ err: error }, 'old idempotency keys are still there'),
      )
    },
    onShutdown: () => stopDeletingKeys(),
    logger,
  })
}

function openDatabase({ url, options }: DatabaseConfig): Database {
  try {
    makeDataFolder(url)
  } catch (error) {
    throw new EnvironmentError([
      `The folder of ${String(new DatabaseURL(url))} cannot be made: ${messageOf(error)}`,
    ])
  }
  return new Database(url, options)
}

function timeLimits(config: Config) {
  const { readinessGraceMillis, requestTimeoutMillis, shutdownTimeoutMillis } = config
  return { readinessGraceMillis, requestTimeoutMillis, shutdownTimeoutMillis }
}

async function migrateOrWarn(
  database: Database,
  folder: Folder,
  config: DatabaseConfig,
  logger: Logger,
): Promise<void> {
  if (config.migrates) {
    await migrate(database, folder, {
      seed: config.seeds,
      tell: (message) => logger.info(`database ${database.name}: ${message}`),
    })
    logger.info(`database ${database.name}: up to date`)
  }
  const { pending, unknown } = await migrationState(database, migrationsFor(folder))
  if (pending.length > 0) {
    logger.warn(
      `database ${database.name}: migrations have not been run (${pending.join(', ')}), so the service is not ready. ` +
        `Run \`npx knex migrate:latest --env ${folder}\`, or start with MIGRATE_ON_START=true.`,
    )
  }
  if (unknown.length > 0) {
    logger.warn(
      `database ${database.name}: a newer release has run migrations that this one does not have (${unknown.join(', ')}).`,
    )
  }
}

/** The exit code for settings that cannot work, so that a restart with the same ones is useless. */
const EXIT_CONFIGURATION = 2
const EXIT_FAILURE = 1

start().catch((error: unknown) => {
  const isConfiguration =
    error instanceof EnvironmentError ||
    (error instanceof DatabaseError && error.code === 'CONFIGURATION_INVALID')
  // Expected errors are reported by their message; any other error is a defect, and needs its stack.
  const isExpected =
    isConfiguration ||
    error instanceof DatabaseError ||
    error instanceof ListenError ||
    error instanceof DivergedError
  const text = isExpected
    ? error.message
    : error instanceof Error
      ? (error.stack ?? error.message)
      : String(error)
  process.stderr.write(`${text.replace(/^/gm, 'millpond: ')}\n`)
  process.exit(isConfiguration ? EXIT_CONFIGURATION : EXIT_FAILURE)
})

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
