/** Serving an application in a test: on a free port, quietly, and without touching this process' signals. */
import type { Express } from 'express'
import { serve, type ServeOptions, type Serving } from '../../src/express'
import { freePort } from '../support/free-port'

/** What `serve` said, in order. */
export class Lines {
  readonly lines: string[] = []
  readonly info = (line: string): void => void this.lines.push(line)
  readonly warn = this.info
  readonly error = this.info
}

export async function serveQuietly(app: Express, options: ServeOptions = {}): Promise<Serving> {
  return serve(app, {
    host: '127.0.0.1',
    port: await freePort(),
    signals: [],
    // Clients here keep their connections alive, and no test is to wait for them.
    keepAliveGraceMillis: 0,
    logger: new Lines(),
    ...options,
  })
}

/** A promise and what settles it. */
export function deferred<T = void>(): {
  readonly promise: Promise<T>
  readonly resolve: (value: T) => void
  readonly reject: (reason: Error) => void
} {
  let resolve: (value: T) => void = () => {}
  let reject: (reason: Error) => void = () => {}
  const promise = new Promise<T>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}
