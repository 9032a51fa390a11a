/** Whether the process lives, and whether it should be sent requests: two questions with two answers. */
import express, { type Application, type Request, type Response, type Router } from 'express'
import { type Database, DatabaseError } from '../database'

const SHUTTING_DOWN = 'shutting down'
const PING_TIMEOUT_MILLIS = 1000

/** Says through the application's settings, which its sub-applications inherit, whether it is about to end. */
export function setShuttingDown(app: Application, isShuttingDown: boolean): void {
  app.set(SHUTTING_DOWN, isShuttingDown)
}

/**
 * Answers `GET /livez` and `GET /readyz`. Mount it before everything else, so that it depends on nothing.
 *
 * `/livez` is 200 as long as the process can answer, and touches no database: one that is down is no reason to
 * restart this process. `/readyz` is 200 when every database answers a ping within a second, and 503 when one does
 * not, or while `serve` is shutting down; a load balancer that polls it sends no more requests then. The answer names
 * each database with what is wrong with it, and nothing else about it.
 *
 * @example
 * app.use(health(database))
 */
export function health(...databases: readonly Database[]): Router {
  const router = express.Router()
  router.get('/livez', (_request, response) => {
    response.set('Cache-Control', 'no-store').json({ status: 'alive' })
  })
  router.get('/readyz', async (request, response) => {
    await answerReadiness(request, response, databases)
  })
  return router
}

async function answerReadiness(
  request: Request,
  response: Response,
  databases: readonly Database[],
): Promise<void> {
  const checked = await Promise.all(
    databases.map(async (database) => [database.name, await check(database)] as const),
  )
  const isShuttingDown = request.app.get(SHUTTING_DOWN) === true
  const isReady = !isShuttingDown && checked.every(([, result]) => result === 'ready')
  response
    .status(isReady ? 200 : 503)
    .set('Cache-Control', 'no-store')
    .json({
      status: isShuttingDown ? 'shutting down' : isReady ? 'ready' : 'not ready',
      databases: Object.fromEntries(checked),
    })
}

/** `ready`, or the stable code of what is wrong, such as `CONNECTION_FAILED`: it names no host and no user. */
async function check(database: Database): Promise<string> {
  try {
    await database.ping({ timeoutMillis: PING_TIMEOUT_MILLIS })
    return 'ready'
  } catch (error) {
    return error instanceof DatabaseError ? error.code : 'DATABASE_ERROR'
  }
}
