/** The stacks that are compared: how each is started, and under which short name it is known. */
import path from 'node:path'

export interface Stack {
  readonly id: string
  readonly title: string
  /** The program and its arguments. */
  readonly command: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
}

/** The folder of package.json, where npm runs its scripts. */
export const root = process.cwd()

/** What `npm start` runs, with the metrics of its operators' listener on, and its log written to nowhere. */
function service(id: string, title: string, environment: Record<string, string> = {}): Stack {
  const main = path.join(root, 'dist', 'src', 'service', 'main.js')
  const pool = { DATABASE_POOL_SIZE: '10', DATABASE_MAX_OVERFLOW: '0' }
  return {
    id,
    title,
    command: [process.execPath, '--enable-source-maps', main],
    environment: { ...pool, MIGRATE_ON_START: 'true', ADMIN_PORT: '0', ...environment },
  }
}

function peer(id: string, title: string, front: string, store: string): Stack {
  return { id, title, command: [process.execPath, path.join(__dirname, 'peer.js'), front, store] }
}

export const SERVICE = service('service', 'this service, whole')

/** In the order in which they are shown. Two of them are what the others are measured against. */
export const STACKS: readonly Stack[] = [
  SERVICE,
  service('quiet', 'this service, logging warnings only', { LOG_LEVEL: 'warn' }),
  peer('N1', 'Express + Knex', 'express', 'knex'),
  peer('N2', 'Express + pg', 'express', 'pg-unnamed'),
  peer('N3', 'Express + pg, named statements', 'express', 'pg-named'),
  peer('N4', 'Fastify + pg, named statements', 'fastify', 'pg-named'),
  peer('N5b', 'node:http + pg, named statements', 'node-http', 'pg-named'),
]
