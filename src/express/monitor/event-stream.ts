/** Tells browsers what happens, by server-sent events: to few of them, and to nobody faster than he can read. */
import type { Request, Response } from 'express'
import { isShuttingDown } from '../health'
import type { Observation, Sample } from './database-stats'
import type { DatabaseReport } from './database-stats'

const TELL_MILLIS = 1000
const MOST_LISTENERS = 20
/** A browser that takes nothing for so long is gone, or asleep; it comes back by itself. */
const PATIENCE_MILLIS = 30_000

/** What each event of the stream carries, as JSON. */
export interface LiveReport {
  /** Milliseconds since 1970. */
  readonly at: number
  readonly databases: readonly (DatabaseReport & {
    /** In the first event, of the last five minutes; later, those that are new. */
    readonly samples: readonly Sample[]
  })[]
}

interface Listener {
  readonly request: Request
  /** When it was last seen to read. */
  reads: number
  isFull: boolean
  /** The moment of the newest sample that it knows. */
  knows: number
}

export class Live {
  readonly #observations: readonly Observation[]
  readonly #listeners = new Map<Response, Listener>()
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(observations: readonly Observation[]) {
    this.#observations = observations
  }

  /** Keeps the response open, and tells it once a second how things are. */
  add(request: Request, response: Response): void {
    if (this.#isClosed || isShuttingDown(request.app) || this.#listeners.size >= MOST_LISTENERS) {
      const reason =
        this.#listeners.size >= MOST_LISTENERS ? 'too many look at this already' : 'shutting down'
      response.status(503).set({ 'Retry-After': '5', 'Cache-Control': 'no-store' }).json({ detail: reason })
      return
    }
    response.status(200).set({
      'Content-Type': 'text/event-stream; charset=utf-8',
      'Cache-Control': 'no-store',
      // nginx would keep it back until it has enough of it.
      'X-Accel-Buffering': 'no',
      Connection: 'close',
    })
    const listener: Listener = { request, reads: performance.now(), isFull: false, knows: 0 }
    this.#listeners.set(response, listener)
    response.on('drain', () => {
      listener.isFull = false
    })
    response.once('close', () => this.#remove(response))
    response.write('retry: 2000\n\n')
    this.#tell()
    this.#timer ??= setInterval(() => this.#tell(), TELL_MILLIS).unref()
  }

  get listeners(): number {
    return this.#listeners.size
  }

  /** Ends every stream; whoever comes later is sent away. */
  close(): void {
    this.#isClosed = true
    for (const [response, { isFull }] of this.#listeners) this.#end(response, isFull)
  }

  #tell(): void {
    const reports = this.#observations.map((observation) => observation.report())
    // Nearly all of them know the same: the text is made once for these.
    const texts = new Map<number, string>()
    const now = performance.now()
    for (const [response, listener] of this.#listeners) {
      if (isShuttingDown(listener.request.app)) {
        this.#end(response, listener.isFull)
      } else if (!listener.isFull) {
        const text = texts.get(listener.knows) ?? this.#textFor(reports, listener.knows)
        texts.set(listener.knows, text)
        listener.knows = Math.max(...this.#observations.map(({ samples }) => samples.at(-1)?.at ?? 0), 0)
        listener.isFull = !response.write(text)
        listener.reads = now
      } else if (now - listener.reads > PATIENCE_MILLIS) {
        response.destroy()
      }
    }
  }

  #textFor(reports: readonly DatabaseReport[], knows: number): string {
    const databases = reports.map((report, index) => {
      const samples = this.#observations[index]?.samples ?? []
      return { ...report, samples: samples.filter(({ at }) => at > knows) }
    })
    const live: LiveReport = { at: Date.now(), databases }
    return `data: ${JSON.stringify(live)}\n\n`
  }

  #end(response: Response, isFull = false): void {
    this.#remove(response)
    response.end()
    // Who does not read what he was sent will not read that it is the end, and would hold the shutdown up.
    if (isFull) response.destroy()
  }

  #remove(response: Response): void {
    this.#listeners.delete(response)
    if (this.#listeners.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
