/** The middleware that runs all queries of a request on one connection, released when its answer is complete. */
import type { Request, RequestHandler, Response } from 'express'
import type { Connection, Database } from '../database'
import { keepScope } from './listeners'
import { checkBegin } from './transaction-per-request'

export interface ConnectionPerRequestOptions {
  /**
   * Runs on the connection when it is taken, before the first query of the handlers, which waits for it. If it fails, no query
   * of the handlers runs. What it sets is undone when the connection is released.
   */
  readonly begin?: (connection: Connection, request: Request) => unknown
}

/**
 * Runs every query of the following handlers on one connection of the database, as FastAPI's `Depends(get_db)` does: for
 * queries that depend on earlier ones, such as `SET` or a temporary table. The first query takes the connection. It is
 * released when the handler has written the end of its answer, however slowly the client reads that. A later query throws
 * TransactionClosedError.
 *
 * @example
 * app.get('/report', connectionPerRequest(database), async (request, response) => {
 *   await database.execute("SET work_mem TO '256MB'")
 *   response.json(await database.fetchAll('SELECT * FROM big_report'))
 * })
 */
export function connectionPerRequest(
  database: Database,
  { begin, ...others }: ConnectionPerRequestOptions = {},
): RequestHandler {
  checkBegin(begin)
  return async (request, response, next) => {
    keepScope(request, response)
    try {
      await database.connectionOnDemand(
        async () => {
          const answered = untilAnswered(response)
          next()
          await answered
        },
        { ...others, ...(begin && { begin: (connection: Connection) => begin(connection, request) }) },
      )
    } catch (error) {
      // Once the answer is sent, the error can only say that open work was rolled back.
      if (!response.writableEnded) next(error)
    }
  }
}

/** Resolves when the answer is complete, or when the client has gone away. */
function untilAnswered(response: Response): Promise<void> {
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
