/** One transaction around all that a request does, ended before its answer leaves. */
import type { RequestHandler } from 'express'
import type { Database, TransactionOptions } from '../database'
import { HeldResponse } from './buffered-response'
import { keepScope } from './listeners'

/** The handler ran and its answer says no: roll back, and send that answer. */
class Refusal extends Error {}

/**
 * Runs what comes after it in a transaction of the database. Every query that the handler makes on the database is
 * part of it, with no handle to pass around. It begins with the first of them: a request that makes none, or that is
 * still being read, holds no connection.
 *
 * The answer is kept in memory until the transaction has ended, so a client that reads slowly holds no connection,
 * and one that reads `200` can rely on the commit. It is committed when the answer is complete with a status below
 * 400. A thrown error, a status of 400 or more, and a client that goes away before the answer roll back. An error is known
 * by what the error handlers make of it: one that is answered by a status below 400 is committed. A COMMIT that fails
 * goes to the error handlers, and its error is the answer.
 *
 * The first complete answer ends the transaction: a query made after `response.json(…)` throws
 * TransactionClosedError. A body written in pieces is held, too: send large ones from routes without this.
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
  // A handler cannot be run again: its request's body has been read.
  options: Omit<TransactionOptions, 'retries' | 'forceRollback'> = {},
): RequestHandler {
  return async (request, response, next) => {
    keepScope(request, response)
    const held = new HeldResponse(response)
    try {
      await database.transactionOnDemand(async () => {
        next()
        const status = await held.status
        if (status === null || status >= 400) throw new Refusal()
      }, options)
    } catch (error) {
      if (!(error instanceof Refusal)) {
        held.discard()
        next(error)
        return
      }
    }
    held.send()
  }
}
