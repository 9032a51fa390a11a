/** One connection for all that a request does, given back when its answer is complete. */
import type { RequestHandler, Response } from 'express'
import type { Database } from '../database'
import { keepScope } from './listeners'

/**
 * Has every query of what comes after it run on one connection of the database, as FastAPI's `Depends(get_db)` has it: for
 * what must see what it has set before, such as `SET` or a temporary table. It is taken by the first query, and given back
 * when the handler has written the last of its answer, however slowly the client reads that. A query made later throws
 * TransactionClosedError.
 *
 * @example
 * app.get('/report', connectionPerRequest(database), async (request, response) => {
 *   await database.execute("SET work_mem TO '256MB'")
 *   response.json(await database.fetchAll('SELECT * FROM big_report'))
 * })
 */
export function connectionPerRequest(database: Database): RequestHandler {
  return async (request, response, next) => {
    keepScope(request, response)
    try {
      await database.connectionOnDemand(async () => {
        const ended = endOf(response)
        next()
        await ended
      })
    } catch (error) {
      // What was left open was rolled back, and its answer is on its way.
      if (!response.writableEnded) next(error)
    }
  }
}

/** Resolves when the answer is complete, or the client gone. */
function endOf(response: Response): Promise<void> {
  return new Promise((resolve) => {
    const end = response.end.bind(response)
    response.once('close', resolve)
    if (response.destroyed || response.req.socket.destroyed) resolve()
    response.end = ((...args: Parameters<Response['end']>) => {
      resolve()
      return end(...args)
    }) as Response['end']
  })
}
