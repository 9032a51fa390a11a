/** What the service says: lines for people in a terminal, JSON everywhere else. */
import type { RequestHandler } from 'express'
import { type Logger, pino } from 'pino'
import type PrettyModule from 'pino-pretty'
import { routeOf } from '../express'
import type { LogLevel } from './config'

export type { Logger }

export function createLogger(level: LogLevel): Logger {
  return pino({ level }, prettyStream() ?? pino.destination(1))
}

/** What a person at a terminal knows already, or reads in the message itself. */
const IN_MESSAGE = 'pid,hostname,method,route,status,durationMillis'

/** The pretty printer is a development dependency, so it may not be installed. */
function prettyStream(): NodeJS.WritableStream | null {
  if (!process.stdout.isTTY) return null
  try {
    const pretty = require('pino-pretty') as typeof PrettyModule
    // In this thread, because the last lines would be lost if a worker still had them when the process ends.
    return pretty({ ignore: IN_MESSAGE, translateTime: 'SYS:HH:MM:ss.l', singleLine: true, sync: true })
  } catch {
    return null
  }
}

/** Writes one line for each request when its answer has been sent, or when its client has gone away. */
export function requestLog(logger: Logger): RequestHandler {
  return (request, response, next) => {
    const since = performance.now()
    response.once('close', () => {
      const durationMillis = Math.round((performance.now() - since) * 10) / 10
      const { method } = request
      const route = routeOf(request)
      const status = response.writableFinished ? response.statusCode : 'client gone'
      logger.info(
        { method, route, status, durationMillis },
        `${method} ${route} ${status} (${durationMillis} ms)`,
      )
    })
    next()
  }
}
