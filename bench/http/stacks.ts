/** The stacks that are compared: how each is started, and under which short name it is known. */
import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { type DriverName, PACKAGES, RUNNING_HERE } from '../sqlite-drivers'

export interface Stack {
  readonly id: string
  readonly title: string
  /** The program and its arguments. */
  readonly command: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  /** By which it opens its file, if it is one on SQLite. */
  readonly driver?: DriverName
}

/** The folder of package.json, where npm runs its scripts. */
export const root = process.cwd()

/** What `npm start` runs, with the metrics of its operators' listener on. */
function service(id: string, title: string, environment: Record<string, string> = {}): Stack {
  const start = path.join(root, 'dist', 'src', 'service', 'start.js')
  const pool = { DATABASE_POOL_SIZE: '10', DATABASE_MAX_OVERFLOW: '0' }
  return {
    id,
    title,
    command: [process.execPath, start],
    environment: { ...pool, MIGRATE_ON_START: 'true', ADMIN_PORT: '0', ...environment },
  }
}

function peer(id: string, title: string, front: string, store: string): Stack {
  return { id, title, command: [process.execPath, path.join(__dirname, 'peer.js'), front, store] }
}

/** Debian's Python, for which the packages of the tutorial's stacks may be installed. */
const PYTHON = '/usr/bin/python3'

/** A stack of the tutorial; its server takes the port and the log level from its arguments, hence the shell. */
function tutorial(id: string, title: string, module: string): Stack {
  const folder = path.join(root, 'bench', 'http', 'fastapi')
  const serve = `exec ${PYTHON} -m uvicorn --app-dir "$0" --port "$PORT" --log-level warning "$1:app"`
  return { id, title, command: ['sh', '-c', serve, folder, module] }
}

/** Packages that `apt-get install` brings, by the names under which Python knows them. */
const TUTORIAL_NEEDS = 'import fastapi, uvicorn, sqlalchemy, psycopg2, databases, asyncpg'

/** Whether this machine can run the tutorial's stacks. */
export const hasTutorial = spawnSync(PYTHON, ['-c', TUTORIAL_NEEDS]).status === 0

const TUTORIAL: readonly Stack[] = [
  tutorial('P1', 'FastAPI + SQLAlchemy, synchronous', 'with_sqlalchemy'),
  tutorial('P2', 'FastAPI + databases', 'with_databases'),
]

export const SERVICE = service(
  'service',
  'this service, whole, but for its log of requests: no peer has one',
  {
    LOG_LEVEL: 'warn',
  },
)

/** In the order in which they are shown. Two of them are what the others are measured against. */
export const STACKS: readonly Stack[] = [
  SERVICE,
  service('logging', 'this service with its log of requests, written to nowhere', { LOG_LEVEL: 'info' }),
  peer('N1', 'Express + Knex', 'express', 'knex'),
  peer('N2', 'Express + pg', 'express', 'pg-unnamed'),
  peer('N3', 'Express + pg, named statements', 'express', 'pg-named'),
  peer('N4', 'Fastify + pg, named statements', 'fastify', 'pg-named'),
  peer('N5', 'node:http + postgres.js', 'node-http', 'postgres-js'),
  peer('N5b', 'node:http + pg, named statements', 'node-http', 'pg-named'),
  peer('N6', 'node:http + a Database of millpond', 'node-http', 'millpond'),
  peer('N7', 'Express by the server of serve() + pg, named statements', 'express-served', 'pg-named'),
  peer('kysely', 'Express + Kysely', 'express', 'kysely'),
  peer('drizzle', 'Express + Drizzle, prepared', 'express', 'drizzle'),
  peer('sequelize', 'Express + Sequelize', 'express', 'sequelize'),
  peer('typeorm', 'Express + TypeORM', 'express', 'typeorm'),
  ...(hasTutorial ? TUTORIAL : []),
]

/** Those on SQLite files, which have one writer: a connection for it, and three for readers beside it. */
export const SQLITE_STACKS: readonly Stack[] = [
  ...onDrivers('service', (id, by) =>
    service(id, `this service, whole, but for its log, by ${by}`, {
      LOG_LEVEL: 'warn',
      DATABASE_POOL_SIZE: '4',
    }),
  ),
  peer('N1', 'Express + Knex by sqlite3, pool of 1', 'express', 'knex'),
  ...onDrivers('N5b', (id, by) =>
    peer(id, `node:http + ${by}, prepared statements`, 'node-http', 'sqlite-driver'),
  ),
]

function onDrivers(id: string, stack: (id: string, by: string) => Stack): Stack[] {
  return RUNNING_HERE.map((driver) => ({
    ...stack(driver === 'sqlite3' ? id : `${id}-${driver}`, PACKAGES[driver]),
    driver,
  }))
}
