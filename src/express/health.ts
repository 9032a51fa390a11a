/** The health endpoints: `/livez` tells whether the process is alive, `/readyz` whether it should get requests. */
import express, { type Application, type Request, type RequestHandler, type Response } from 'express'
import { type Database, DatabaseError } from '../database'
import { type ServedDatabase, databaseEntry } from './database-entry'

const PROBES = /^\/(?:livez|readyz)\/?$/i

const READY = 'ready'
const SHUTTING_DOWN = 'shutting down'
/** Shorter than a second, after which many probes give up and would not see the reason. */
const PING_TIMEOUT_MILLIS = 800

/** Notes in the application's settings, which sub-applications inherit, whether it is shutting down. */
export function setShuttingDown(app: Application, isShuttingDown: boolean): void {
  app.set(SHUTTING_DOWN, isShuttingDown)
}

/** Returns whether the application is shutting down: endless answers, such as event streams, have to end then. */
export function isShuttingDown(app: Application): boolean {
  return app.get(SHUTTING_DOWN) === true
}

/**
 * Answers `GET /livez` and `GET /readyz`. Mount it before everything else, so that it depends on nothing.
 *
 * `/livez` is 200 as long as the process can answer, and touches no database: one that is down is no reason to
 * restart this process. `/readyz` is 200 when every database that is required answers a ping, and 503 when one does
 * not, or while `serve` is shutting down; a load balancer that polls it sends no more requests then. It answers within
 * a second, whatever the databases do. The answer names each database with what is wrong with it, and nothing else
 * about it.
 *
 * @example
 * app.use(health(database, { database: archive, required: false }))
 */
export function health(...databases: readonly (Database | ServedDatabase)[]): RequestHandler {
  const known = databases.map(databaseEntry)
  const router = express.Router()
  router.get('/livez', (_request, response) => {
    response.set('Cache-Control', 'no-store').json({ status: 'alive' })
  })
  router.get('/readyz', async (request, response) => {
    await answerReadiness(request, response, known)
  })
  return (request, response, next) => {
    // A quick test first: this runs for every request, and few are probes.
    if (PROBES.test(request.path)) router(request, response, next)
    else next()
  }
}

async function answerReadiness(
  request: Request,
  response: Response,
  databases: readonly Required<ServedDatabase>[],
): Promise<void> {
  const isEnding = isShuttingDown(request.app)
  // During a shutdown the answer is immediate, because no database can change it.
  const checked = isEnding
    ? []
    : await Promise.all(databases.map(async (one) => ({ ...one, found: await check(one.database) })))
  const isReady = !isEnding && checked.every(({ found, required }) => found === READY || !required)
  response
    .status(isReady ? 200 : 503)
    .set('Cache-Control', 'no-store')
    .json({
      status: isEnding ? 'shutting down' : isReady ? READY : 'not ready',
      databases: Object.fromEntries(checked.map(({ database, found }) => [database.name, found])),
    })
}

/** Resolves to `ready` or to the error's code, such as `CONNECTION_FAILED`, which names no host and no user. */
async function check(database: Database): Promise<string> {
  try {
    await database.ping({ timeoutMillis: PING_TIMEOUT_MILLIS })
    return READY
  } catch (error) {
    return error instanceof DatabaseError ? error.code : 'DATABASE_ERROR'
  }
}
