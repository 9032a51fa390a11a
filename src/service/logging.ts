/** The logger of the service: readable lines in a terminal, JSON elsewhere. */
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

/** Fields that are left out in a terminal, because the message has them or they do not matter there. */
const IN_MESSAGE = 'pid,hostname,method,route,status,durationMillis,statements,waitMillis,databaseMillis'

/** The pretty printer is a development dependency, so it may not be installed. */
function prettyStream(): NodeJS.WritableStream | null {
  if (!process.stdout.isTTY) return null
  try {
    const pretty = require('pino-pretty') as typeof PrettyModule
    // Synchronous, because a worker thread would lose the last lines when the process ends.
    return pretty({ ignore: IN_MESSAGE, translateTime: 'SYS:HH:MM:ss.l', singleLine: true, sync: true })
  } catch {
    return null
  }
}

/** Logs one line for each request when its answer has been sent, or when its client has gone away. */
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
      const { statements, waitMillis, databaseMillis } = tallyOf(request) ?? NO_WORK
      const work = {
        statements,
        // Separate from databaseMillis, because more connections help against waiting, but not a slow database.
        waitMillis: rounded(waitMillis),
        databaseMillis: rounded(databaseMillis),
      }
      logger.info(
        { method, route, status, durationMillis, ...work, ...idsOf(request) },
        `${method} ${route} ${status} (${durationMillis} ms${describeWork(work)})`,
      )
    })
    next()
  }
}

const NO_WORK: Tally = { statements: 0, waitMillis: 0, databaseMillis: 0 }

function describeWork({ statements, waitMillis, databaseMillis }: Tally): string {
  if (statements === 0) return waitMillis < 1 ? '' : `, ${waitMillis} ms of them waiting for a connection`
  const what = `${statements} ${statements === 1 ? 'statement' : 'statements'} in ${databaseMillis} ms`
  return waitMillis < 1 ? `: ${what}` : `: ${what}, after ${waitMillis} ms of waiting for a connection`
}

function rounded(millis: number): number {
  return Math.round(millis * 10) / 10
}
