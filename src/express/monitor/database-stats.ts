/** The figures of one Database: totals of its events, and a sample of its pool each second. */
import type { Database, DatabaseError, DatabaseEvents, PoolStats } from '../../database'
import { holderReport, type HolderReport } from './holder-report'
import { type ErrorReport, RecentErrors, type LeakReport, RecentLeaks } from './recent-errors'
import { type Percentiles, LatencyWindow } from './latency-window'
import { type StatementReport, SlowStatements } from './slow-statements'
import { judgeHealth, type PoolHealth } from './pool-health'
import { redactedMessage } from './redacted-message'

/** One second of a pool. */
export interface Sample {
  /** Milliseconds since 1970. */
  readonly at: number
  /** How many connections were in use within this second: on average, and at most. */
  readonly used: number
  readonly mostUsed: number
  /** How many connections were open at the end of the second, in use or idle. */
  readonly open: number
  readonly waiting: number
  /** How many there were within this second, like the following two. */
  readonly statements: number
  readonly errors: number
  readonly timeouts: number
}

export interface DatabaseReport {
  readonly name: string
  readonly dialect: string
  /** Without the password. */
  readonly url: string
  readonly verdict: PoolHealth
  readonly stats: PoolStats
  /** Longest first; at most a hundred. */
  readonly holders: readonly HolderReport[]
  /** Of the last five minutes. */
  readonly times: { readonly wait: Percentiles; readonly use: Percentiles; readonly statement: Percentiles }
  readonly statements: readonly StatementReport[]
  readonly leaks: readonly LeakReport[]
  readonly errors: readonly ErrorReport[]
}

const SAMPLE_MILLIS = 1000
const MAX_SAMPLES = 300
const MAX_HOLDERS = 100
const SAMPLES_A_MINUTE = 60

type ObservedEvent = Exclude<keyof DatabaseEvents, 'cleanup' | 'retire'>
type Listeners = { readonly [E in ObservedEvent]: (...args: DatabaseEvents[E]) => void }

export class DatabaseStats {
  readonly name: string
  readonly #database: Database
  readonly #wait = new LatencyWindow()
  readonly #use = new LatencyWindow()
  readonly #statement = new LatencyWindow()
  readonly #statements = new SlowStatements()
  /** What the messages of errors may quote. */
  readonly #names: readonly string[]
  readonly #errors: RecentErrors
  readonly #leaks = new RecentLeaks()
  #samples: Sample[] = []
  #waitingSince: number | null = null
  #unreachable: { readonly message: string; readonly since: number; readonly lastAt: number } | null = null
  #used = 0
  /** The number of used connections, integrated over time from `since` to `until`; a mean is this divided by the time. */
  #usage = { millis: 0, since: 0, until: 0 }
  #currentSecond = { most: 0, statements: 0, errors: 0, timeouts: 0 }
  #timer: NodeJS.Timeout | undefined

  readonly #listeners: Listeners = {
    connect: () => this.#start(),
    disconnect: () => this.#stop(),
    connectRetry: ({ error }) => {
      this.#addConnectFailure(error)
      this.#addError(error, null, null)
    },
    create: () => {
      this.#unreachable = null
    },
    acquire: ({ waitMillis }) => {
      this.#countUsed(1)
      if (this.#used > this.#currentSecond.most) this.#currentSecond.most = this.#used
      this.#wait.record(waitMillis)
    },
    release: ({ heldMillis }) => {
      this.#countUsed(-1)
      this.#use.record(heldMillis)
    },
    timeout: ({ error, label }) => {
      this.#currentSecond.timeouts += 1
      if (error.code === 'CONNECTION_FAILED') this.#addConnectFailure(error)
      this.#addError(error, label, null)
    },
    leak: (event) => {
      this.#leaks.add(event)
    },
    query: ({ durationMillis, error, label, sql }) => {
      this.#currentSecond.statements += 1
      this.#statement.record(durationMillis)
      this.#statements.add(sql, label, durationMillis, error !== undefined)
      if (error !== undefined) this.#addError(error, label, sql)
    },
  }

  constructor(database: Database, name: string) {
    this.#database = database
    this.name = name
    const { database: inURL, username } = database.url
    this.#names = [database.name, inURL, username].filter((one) => one !== null)
    this.#errors = new RecentErrors(this.#names)
    this.#listen('on')
    if (database.isConnected) this.#start()
  }

  /** Stops listening to events. */
  close(): void {
    this.#listen('off')
    this.#stop()
  }

  /** The samples of up to five minutes, the oldest first. */
  get samples(): readonly Sample[] {
    return this.#samples
  }

  report(): DatabaseReport {
    const stats = this.#database.stats()
    const holders = this.#database.holders()
    const wait = this.#wait.percentiles()
    return {
      name: this.name,
      dialect: this.#database.url.dialect,
      url: String(this.#database.url),
      verdict: judgeHealth({
        at: Date.now(),
        isConnected: this.#database.isConnected,
        stats,
        holders,
        wait,
        waitingSince: this.#waitingSince,
        hasWaited: this.#samples.slice(-2).every(({ waiting }) => waiting > 0),
        timeouts: this.#timeoutsOfLastMinute(),
        leaks: this.#leaks.outstanding,
        unreachable: this.#unreachableOfLate(),
      }),
      stats,
      holders: holders.slice(0, MAX_HOLDERS).map(holderReport),
      times: { wait, use: this.#use.percentiles(), statement: this.#statement.percentiles() },
      statements: this.#statements.slowest(),
      leaks: this.#leaks.latest(),
      errors: this.#errors.latest(),
    }
  }

  #timeoutsOfLastMinute(): { count: number; since: number | null } {
    const sampled = this.#samples.slice(-SAMPLES_A_MINUTE).filter(({ timeouts }) => timeouts > 0)
    const count = sampled.reduce((sum, { timeouts }) => sum + timeouts, this.#currentSecond.timeouts)
    return { count, since: sampled[0]?.at ?? this.#samples.at(-1)?.at ?? null }
  }

  /** Returns the failures to connect, if the last was within the last minute; older ones may be over without having been noticed. */
  #unreachableOfLate(): { readonly message: string; readonly since: number } | null {
    const failures = this.#unreachable
    if (failures === null) return null
    return performance.now() - failures.lastAt < SAMPLES_A_MINUTE * SAMPLE_MILLIS ? failures : null
  }

  #addConnectFailure(error: DatabaseError): void {
    this.#unreachable = {
      message: redactedMessage(error, null, this.#names),
      since: this.#unreachableOfLate()?.since ?? Date.now(),
      lastAt: performance.now(),
    }
  }

  #addError(...error: Parameters<RecentErrors['add']>): void {
    this.#currentSecond.errors += 1
    this.#errors.add(...error)
  }

  /** Starts the sampling timer, which does not keep the process alive. It runs only while the Database is connected. */
  #start(): void {
    this.#stop()
    const now = performance.now()
    this.#used = this.#database.stats().used
    this.#usage = { millis: 0, since: now, until: now }
    this.#sample()
    this.#timer = setInterval(() => this.#sample(), SAMPLE_MILLIS).unref()
  }

  #stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #sample(): void {
    const { idle, used, waiting } = this.#database.stats()
    const { errors, most, statements, timeouts } = this.#currentSecond
    this.#countUsed(0)
    this.#waitingSince = waiting === 0 ? null : (this.#waitingSince ?? Date.now())
    const { millis, since, until } = this.#usage
    const average = until > since ? millis / (until - since) : used
    this.#samples.push({
      at: Date.now(),
      used: Number(average.toFixed(2)),
      mostUsed: Math.max(used, most),
      open: used + idle,
      waiting,
      statements,
      errors,
      timeouts,
    })
    if (this.#samples.length > MAX_SAMPLES) this.#samples.shift()
    // Taken from the pool, because events do not cover connections that were lent before the monitor was made.
    this.#used = used
    this.#usage = { millis: 0, since: until, until }
    this.#currentSecond = { most: used, statements: 0, errors: 0, timeouts: 0 }
  }

  #countUsed(change: number): void {
    const now = performance.now()
    this.#usage.millis += this.#used * (now - this.#usage.until)
    this.#usage.until = now
    this.#used += change
  }

  #listen(how: 'on' | 'off'): void {
    for (const [event, listener] of Object.entries(this.#listeners)) {
      this.#database[how](event as 'query', listener as Listeners['query'])
    }
  }
}
