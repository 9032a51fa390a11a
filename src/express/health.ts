/** The health endpoints: `/livez` tells whether the process is alive, `/readyz` whether it should get requests. */
import express, { type Application, type Request, type RequestHandler, type Response } from 'express'
import { type Database, DatabaseError, runInScope } from '../database'
import { type Readiness, type ServedDatabase, databaseEntry } from './database-entry'
import { settlesWithin } from './shutdown-step'

const PROBES = /^\/(?:livez|readyz)\/?$/i

const READY = 'ready'
const SHUTTING_DOWN = 'shutting down'
/** Shorter than a second, after which many probes give up and would not see the reason. */
const PROBE_MILLIS = 800

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
 * restart this process. `/readyz` is 200 when every database that is required answers a ping, and its `check`, if it has one,
 * finds it ready; else 503, also while `serve` is shutting down. A load balancer that polls it sends no more requests then.
 * It answers within a second, whatever the databases do. The answer names each database with what is wrong with it, or what
 * its check tells, and nothing else about it.
 *
 * @example
 * app.use(health(database, { database: archive, required: false }))
 */
export function health(...databases: readonly (Database | ServedDatabase)[]): RequestHandler {
  const probes = databases.map((entry) => new ReadinessProbe(databaseEntry(entry)))
  const router = express.Router()
  router.get('/livez', (_request, response) => {
    response.set('Cache-Control', 'no-store').json({ status: 'alive' })
  })
  router.get('/readyz', async (request, response) => {
    await answerReadiness(request, response, probes)
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
  probes: readonly ReadinessProbe[],
): Promise<void> {
  const isEnding = isShuttingDown(request.app)
  // During a shutdown the answer is immediate, because no database can change it.
  const found = isEnding ? [] : await Promise.all(probes.map((probe) => probe.ask()))
  const isReady = !isEnding && found.every(({ ready }, index) => ready || probes[index]?.required === false)
  response
    .status(isReady ? 200 : 503)
    .set('Cache-Control', 'no-store')
    .json({
      status: isEnding ? 'shutting down' : isReady ? READY : 'not ready',
      databases: Object.fromEntries(found.map((one, index) => [probes[index]?.name, textOf(one)])),
    })
}

function textOf({ ready, detail }: Readiness): string {
  if (!ready) return detail ?? 'not ready'
  return detail === undefined ? READY : `${READY}: ${detail}`
}

/** Asks one database whether it is ready, within {@link PROBE_MILLIS}. */
class ReadinessProbe {
  readonly name: string
  readonly required: boolean
  readonly #database: Database
  readonly #check: () => Promise<Readiness>
  /** What the check found last; null before its first answer. */
  #lastFound: Readiness | null = null

  constructor({ database, required, check }: Required<ServedDatabase>) {
    this.name = database.name
    this.required = required
    this.#database = database
    this.#check = check
  }

  async ask(): Promise<Readiness> {
    const until = performance.now() + PROBE_MILLIS
    try {
      await this.#database.ping({ timeoutMillis: PROBE_MILLIS })
    } catch (error) {
      return notReady(error)
    }
    const { size, maxOverflow, used, waiting } = this.#database.stats()
    // A probe takes no connection that a request waits for, and a full pool is no sign of missing tables.
    if (this.#lastFound !== null && used + waiting >= size + maxOverflow) return this.#lastFound
    const asked = runInScope({ label: 'GET /readyz', deadline: until }, async () => this.#check()).then(
      (found) => void (this.#lastFound = found),
      (error: unknown) => {
        if (performance.now() < until) this.#lastFound = notReady(error)
      },
    )
    await settlesWithin(asked, until - performance.now())
    return this.#lastFound ?? { ready: false, detail: 'CHECK_TIMEOUT' }
  }
}

/** Names the error by its code, such as `CONNECTION_FAILED`, which tells no host and no user. */
function notReady(error: unknown): Readiness {
  return { ready: false, detail: error instanceof DatabaseError ? error.code : 'CHECK_FAILED' }
}
