/** Combines several middlewares into one, because Express matches each of its layers for every request. */
import type { RequestHandler } from 'express'

/**
 * Returns a middleware that runs the handlers one after the other, and ends as Express would: with the error that one of
 * them passes to `next`, throws or rejects with. `next('route')` goes on to the next handler, as it does in Express.
 */
export function inTurn(...handlers: readonly RequestHandler[]): RequestHandler {
  return (request, response, next) => {
    let at = 0
    const fail = (error: unknown): void => next(error ?? new Error('A middleware failed with nothing.'))
    const go = (stop?: unknown): void => {
      const handler = handlers[at]
      at += 1
      if (handler === undefined || (Boolean(stop) && stop !== 'route')) {
        next(stop)
        return
      }
      try {
        const ended: unknown = handler(request, response, go)
        if (ended instanceof Promise) ended.catch(fail)
      } catch (error) {
        fail(error)
      }
    }
    go()
  }
}
