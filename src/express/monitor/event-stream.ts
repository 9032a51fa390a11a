/** Sends the state of the pools to browsers by server-sent events: to a limited number, and to none faster than it reads. */
import type { Request, Response } from 'express'
import { isShuttingDown } from '../health'
import type { DatabaseStats, Sample } from './database-stats'
import type { DatabaseReport } from './database-stats'

const SEND_EVERY_MILLIS = 1000
const MAX_SUBSCRIBERS = 20
/** A browser that reads nothing for so long is gone or asleep. It is disconnected, and reconnects by itself. */
const READ_TIMEOUT_MILLIS = 30_000

/** The JSON of each event. */
export interface StreamEvent {
  /** Milliseconds since 1970. */
  readonly at: number
  readonly databases: readonly (DatabaseReport & {
    /** In the first event, the samples of the last five minutes; later, the new ones. */
    readonly samples: readonly Sample[]
  })[]
}

interface Subscriber {
  readonly request: Request
  /** When it last took data, by performance.now(). */
  lastReadAt: number
  isFull: boolean
  /** The time of the newest sample that it was sent. */
  lastSampleAt: number
}

export class EventStream {
  readonly #allStats: readonly DatabaseStats[]
  readonly #subscribers = new Map<Response, Subscriber>()
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(allStats: readonly DatabaseStats[]) {
    this.#allStats = allStats
  }

  /** Keeps the response open, and sends it an event once a second. */
  add(request: Request, response: Response): void {
    if (this.#isClosed || isShuttingDown(request.app) || this.#subscribers.size >= MAX_SUBSCRIBERS) {
      const reason =
        this.#subscribers.size >= MAX_SUBSCRIBERS ? 'too many look at this already' : 'shutting down'
      response.status(503).set({ 'Retry-After': '5', 'Cache-Control': 'no-store' }).json({ detail: reason })
      return
    }
    response.status(200).set({
      'Content-Type': 'text/event-stream; charset=utf-8',
      'Cache-Control': 'no-store',
      // nginx would buffer the stream.
      'X-Accel-Buffering': 'no',
      Connection: 'close',
    })
    const subscriber: Subscriber = { request, lastReadAt: performance.now(), isFull: false, lastSampleAt: 0 }
    this.#subscribers.set(response, subscriber)
    response.on('drain', () => {
      subscriber.isFull = false
    })
    response.once('close', () => this.#remove(response))
    response.write('retry: 2000\n\n')
    this.#send()
    this.#timer ??= setInterval(() => this.#send(), SEND_EVERY_MILLIS).unref()
  }

  get listeners(): number {
    return this.#subscribers.size
  }

  /** Ends every stream, and refuses new ones. */
  close(): void {
    this.#isClosed = true
    for (const [response, { isFull }] of this.#subscribers) this.#end(response, isFull)
  }

  #send(): void {
    const reports = this.#allStats.map((stats) => stats.report())
    // Nearly all have the same newest sample, and share one text.
    const texts = new Map<number, string>()
    const now = performance.now()
    for (const [response, subscriber] of this.#subscribers) {
      if (isShuttingDown(subscriber.request.app)) {
        this.#end(response, subscriber.isFull)
      } else if (!subscriber.isFull) {
        const text = texts.get(subscriber.lastSampleAt) ?? this.#eventText(reports, subscriber.lastSampleAt)
        texts.set(subscriber.lastSampleAt, text)
        subscriber.lastSampleAt = Math.max(...this.#allStats.map(({ samples }) => samples.at(-1)?.at ?? 0), 0)
        subscriber.isFull = !response.write(text)
        subscriber.lastReadAt = now
      } else if (now - subscriber.lastReadAt > READ_TIMEOUT_MILLIS) {
        response.destroy()
      }
    }
  }

  #eventText(reports: readonly DatabaseReport[], lastSampleAt: number): string {
    const databases = reports.map((report, index) => {
      const samples = this.#allStats[index]?.samples ?? []
      return { ...report, samples: samples.filter(({ at }) => at > lastSampleAt) }
    })
    const event: StreamEvent = { at: Date.now(), databases }
    return `data: ${JSON.stringify(event)}\n\n`
  }

  #end(response: Response, isFull = false): void {
    this.#remove(response)
    response.end()
    // A browser that does not read would not see the end either, and would delay the shutdown.
    if (isFull) response.destroy()
  }

  #remove(response: Response): void {
    this.#subscribers.delete(response)
    if (this.#subscribers.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
