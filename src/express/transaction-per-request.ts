/** The middleware that runs all queries of a request in one transaction, which ends before the answer is sent. */
import { inspect } from 'node:util'
import type { Request, RequestHandler } from 'express'
import { ConfigurationError, type Database, type Transaction, type TransactionOptions } from '../database'
import { BufferedResponse } from './buffered-response'
import { keepScope } from './listeners'

/** Thrown to roll back after an answer with a status of 400 or more, which is sent nevertheless. */
class RollbackForStatus extends Error {}

/** The options of a transaction but for `retries`: a handler cannot run again, because the body of its request has been read. */
export interface TransactionPerRequestOptions extends Omit<TransactionOptions, 'retries' | 'forceRollback'> {
  /**
   * Runs in the transaction when it has begun, before the first query of the handlers, which waits for it: `SET LOCAL`, the
   * tenant for row-level security. If it fails, no query of the handlers runs, and the request fails with its error.
   */
  readonly begin?: (tx: Transaction, request: Request) => unknown
}

/**
 * Runs the following handlers in a transaction of the database. Every query that they make on the database is part of it,
 * without a handle to pass around. The first query begins it: a request that makes none, or whose body is still being read,
 * holds no connection.
 *
 * The answer is kept in memory until the transaction has ended, so a client that reads slowly holds no connection, and one
 * that reads `200` can rely on the commit. The transaction commits when the answer is complete with a status below 400. It
 * rolls back after a thrown error, a status of 400 or more, or when the client goes away before the answer. For a thrown
 * error the answer of the error handlers decides: it commits if that has a status below 400. The error of a COMMIT that
 * fails goes to the error handlers, which make the answer.
 *
 * The first complete answer ends the transaction: a query made after `response.json(…)` throws TransactionClosedError. A
 * body written in pieces is kept in memory too: send large bodies from routes without this middleware.
 *
 * @example
 * app.post('/transfer', transactionPerRequest(database), async (request, response) => {
 *   await database.execute('UPDATE accounts SET balance = balance - 5 WHERE id = 1')
 *   await database.execute('UPDATE accounts SET balance = balance + 5 WHERE id = 2')
 *   response.json({ message: 'Transfer successful' })
 * })
 */
export function transactionPerRequest(
  database: Database,
  { begin, ...options }: TransactionPerRequestOptions = {},
): RequestHandler {
  checkBegin(begin)
  return async (request, response, next) => {
    keepScope(request, response)
    const buffered = new BufferedResponse(response)
    try {
      await database.transactionOnDemand(
        async () => {
          next()
          const status = await buffered.status
          if (status === null || status >= 400) throw new RollbackForStatus()
        },
        { ...options, ...(begin && { begin: (tx: Transaction) => begin(tx, request) }) },
      )
    } catch (error) {
      if (!(error instanceof RollbackForStatus)) {
        buffered.discard()
        next(error)
        return
      }
    }
    buffered.send()
  }
}

/** @throws ConfigurationError at the start of the application: a tenant that nobody sets has to be found before a request */
export function checkBegin(begin: unknown): void {
  if (begin === undefined || typeof begin === 'function') return
  throw new ConfigurationError(`begin is a function, got ${inspect(begin)}.`)
}
