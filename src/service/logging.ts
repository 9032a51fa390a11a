/** What the service says: lines for people in a terminal, JSON everywhere else. */
import type { RequestHandler } from 'express'
import { type Logger, pino } from 'pino'
import type PrettyModule from 'pino-pretty'
import type { Tally } from '../database'
import { routeOf, tallyOf } from '../express'
import type { LogLevel } from './config'
import { idsOf } from './request-id'

export type { Logger }

export function createLogger(level: LogLevel): Logger {
  return pino({ level }, prettyStream() ?? pino.destination(1))
}

/** What a person at a terminal knows already, or reads in the message itself. */
const IN_MESSAGE = 'pid,hostname,method,route,status,durationMillis,statements,waitMillis,databaseMillis'

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
    if (!logger.isLevelEnabled('info')) {
      next()
      return
    }
    const since = performance.now()
    response.once('close', () => {
      const durationMillis = rounded(performance.now() - since)
      const { method } = request
      const route = routeOf(request)
      const status = response.writableFinished ? response.statusCode : 'client gone'
      const { statements, waitMillis, databaseMillis } = tallyOf(request) ?? NOTHING
      const work = {
        statements,
        // Apart from it, because a database that is slow is not helped by more connections.
        waitMillis: rounded(waitMillis),
        databaseMillis: rounded(databaseMillis),
      }
      logger.info(
        { method, route, status, durationMillis, ...work, ...idsOf(request) },
        `${method} ${route} ${status} (${durationMillis} ms${inWords(work)})`,
      )
    })
    next()
  }
}

const NOTHING: Tally = { statements: 0, waitMillis: 0, databaseMillis: 0 }

function inWords({ statements, waitMillis, databaseMillis }: Tally): string {
  if (statements === 0) return waitMillis < 1 ? '' : `, ${waitMillis} ms of them waiting for a connection`
  const what = `${statements} ${statements === 1 ? 'statement' : 'statements'} in ${databaseMillis} ms`
  return waitMillis < 1 ? `: ${what}` : `: ${what}, after ${waitMillis} ms of waiting for a connection`
}

function rounded(millis: number): number {
  return Math.round(millis * 10) / 10
}
