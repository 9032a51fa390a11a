/** The settings of the service: read from the environment, checked, and frozen. */
import { existsSync } from 'node:fs'
import path from 'node:path'
import * as z from 'zod'
import { Database, DatabaseError, type DatabaseOptions, DatabaseURL, type PoolOptions } from '../database'

export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const

export type LogLevel = (typeof LOG_LEVELS)[number]

export interface DatabaseConfig {
  readonly url: string
  readonly options: DatabaseOptions
  /** True to run its migrations at start-up. */
  readonly migrates: boolean
  /** True to fill its empty tables with a few rows at start-up. */
  readonly seeds: boolean
}

export interface Config {
  readonly main: DatabaseConfig
  readonly products: DatabaseConfig
  readonly host: string
  readonly port: number
  /** The admin listener, or false. */
  readonly admin: { readonly port: number; readonly host: string } | false
  readonly logLevel: LogLevel
  /** True to serve /docs and /openapi.json. */
  readonly docs: boolean
  readonly shutdownTimeoutMillis: number
  readonly readinessGraceMillis: number
  readonly requestTimeoutMillis: number
}

type Environment = Readonly<Record<string, string | undefined>>

/** The environment is wrong: one line for each mistake. */
export class EnvironmentError extends Error {
  constructor(readonly mistakes: readonly string[]) {
    super(mistakes.join('\n'))
    this.name = 'EnvironmentError'
  }
}

/**
 * Reads the whole configuration.
 *
 * @throws EnvironmentError naming every variable that is wrong
 */
export function readConfig(env: Environment = environment()): Config {
  const checked = consistent.safeParse(withoutEmpty(env))
  if (!checked.success) {
    throw new EnvironmentError(
      checked.error.issues.map((issue) => `${issue.path.join('.')} ${issue.message}`),
    )
  }
  const read = checked.data
  const pool = definedOnly<PoolOptions>({
    size: read.DATABASE_POOL_SIZE,
    maxOverflow: read.DATABASE_MAX_OVERFLOW,
    acquireTimeoutMillis: read.DATABASE_POOL_TIMEOUT,
    maxLifetimeMillis: read.DATABASE_POOL_RECYCLE,
  })
  const database = (name: string, url: string): DatabaseConfig => {
    const { dialect, isMemory } = new DatabaseURL(url)
    const isEmbedded = dialect === 'sqlite'
    const options = definedOnly<DatabaseOptions>({
      name,
      // A database in memory has exactly one connection, so the size settings cannot apply to it.
      pool: isMemory ? definedOnly<PoolOptions>({ acquireTimeoutMillis: read.DATABASE_POOL_TIMEOUT }) : pool,
      connectTimeoutMillis: read.DATABASE_CONNECT_TIMEOUT,
      statementTimeoutMillis: read.DATABASE_STATEMENT_TIMEOUT,
    })
    return Object.freeze({ url, options, migrates: read.MIGRATE_ON_START ?? isEmbedded, seeds: isEmbedded })
  }
  return Object.freeze({
    main: database('main', read.DATABASE_URL),
    products: database('products', read.PRODUCTS_DATABASE_URL),
    host: read.HOST,
    port: read.PORT,
    admin: read.ADMIN_PORT === undefined ? false : { port: read.ADMIN_PORT, host: read.ADMIN_HOST },
    logLevel: read.LOG_LEVEL,
    docs: read.DOCS,
    shutdownTimeoutMillis: read.SHUTDOWN_TIMEOUT,
    readinessGraceMillis: read.READINESS_GRACE,
    requestTimeoutMillis: read.REQUEST_TIMEOUT,
  })
}

/** Returns the URLs of both databases, unchecked, for tools that need nothing else. */
export function databaseUrls(env: Environment = environment()): { main: string; products: string } {
  const { DATABASE_URL = DEFAULT_URLS.main, PRODUCTS_DATABASE_URL = DEFAULT_URLS.products } =
    withoutEmpty(env)
  return { main: DATABASE_URL, products: PRODUCTS_DATABASE_URL }
}

/** Returns the environment of the process, completed by the file `.env` of the current folder. */
function environment(): Environment {
  if (existsSync('.env')) process.loadEnvFile('.env')
  return process.env
}

/** Seen from src/ when it runs as TypeScript, from dist/src/ when it is compiled. */
const projectRoot = path.resolve(__dirname, __filename.endsWith('.ts') ? '../..' : '../../..')

function sqliteFile(name: string): string {
  const file = path.join(projectRoot, 'data', name).split(path.sep).map(encodeURIComponent).join('/')
  return `sqlite:///${file}`
}

const DEFAULT_URLS = { main: sqliteFile('main.sqlite'), products: sqliteFile('products.sqlite') }

/** The longest time of a timer: Node takes anything longer for 1 ms. */
const MAX_TIMER_SECONDS = 2_147_483

const seconds = (least: number) =>
  z
    .string()
    .regex(/^\d+(\.\d+)?$/, 'must be a number of seconds')
    .transform((text) => Number(text) * 1000)
    .refine((millis) => millis >= least * 1000, `must be ${least} seconds or more`)
    .refine((millis) => millis <= MAX_TIMER_SECONDS * 1000, `must be ${MAX_TIMER_SECONDS} seconds or less`)

const wholeNumber = (least: number, most: number) => {
  const message = `must be a whole number from ${least} to ${most}`
  return z
    .string()
    .regex(/^\d+$/, message)
    .transform(Number)
    .refine((value) => value >= least && value <= most, message)
}

const flag = z.enum(['true', 'false'], 'must be true or false').transform((text) => text === 'true')

const databaseUrl = z.string().superRefine((url, context) => {
  try {
    // The constructor checks the URL with its parameters, and does not connect.
    void new Database(url)
  } catch (error) {
    if (!(error instanceof DatabaseError)) throw error
    context.addIssue({ code: 'custom', message: `is not usable: ${error.message}` })
  }
})

const variables = z.object({
  DATABASE_URL: databaseUrl.default(DEFAULT_URLS.main),
  PRODUCTS_DATABASE_URL: databaseUrl.default(DEFAULT_URLS.products),
  MIGRATE_ON_START: flag.optional(),
  HOST: z.string().default('127.0.0.1'),
  PORT: wholeNumber(0, 65_535).default(3000),
  ADMIN_PORT: wholeNumber(0, 65_535).optional(),
  ADMIN_HOST: z.string().default('127.0.0.1'),
  LOG_LEVEL: z.enum(LOG_LEVELS, `must be one of ${LOG_LEVELS.join(', ')}`).default('info'),
  DOCS: flag.default(true),
  SHUTDOWN_TIMEOUT: seconds(0).default(30_000),
  READINESS_GRACE: seconds(0).default(0),
  REQUEST_TIMEOUT: seconds(0).default(60_000),
  DATABASE_POOL_SIZE: wholeNumber(1, 10_000).optional(),
  DATABASE_MAX_OVERFLOW: wholeNumber(0, 10_000).optional(),
  DATABASE_POOL_TIMEOUT: seconds(0.001).optional(),
  DATABASE_POOL_RECYCLE: seconds(1).optional(),
  DATABASE_CONNECT_TIMEOUT: seconds(0.001).optional(),
  DATABASE_STATEMENT_TIMEOUT: seconds(0).optional(),
})

/** The names of all settings. */
export const VARIABLES: readonly string[] = Object.keys(variables.shape)

const consistent = variables.refine(
  (read) => read.READINESS_GRACE < read.SHUTDOWN_TIMEOUT || read.READINESS_GRACE === 0,
  {
    path: ['READINESS_GRACE'],
    message: 'must be shorter than SHUTDOWN_TIMEOUT, which it is part of',
  },
)

/** Leaves out empty variables: compose files and CI write them for values that are not set. */
function withoutEmpty(env: Environment): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).filter((entry): entry is [string, string] => Boolean(entry[1])),
  )
}

function definedOnly<T extends object>(options: { [K in keyof T]?: T[K] | undefined }): T {
  return Object.freeze(
    Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)),
  ) as T
}
