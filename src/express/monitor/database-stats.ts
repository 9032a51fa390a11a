/** What is known about one Database: its events as figures, and a sample of its pool each second. */
import type { Database, DatabaseEvents, Holder, PoolStats } from '../../database'
import { fingerprintOf } from './fingerprint'
import { type ErrorReport, Errors, type LeakReport, Leaks } from './recent-errors'
import { type Percentiles, RecentTimes } from './latency-window'
import { type StatementReport, Statements } from './slow-statements'
import { isIdle, isSlow, judge, type Verdict } from './pool-health'

/** One second of a pool. */
export interface Sample {
  /** Milliseconds since 1970. */
  readonly at: number
  /** How many were in use within this second: on average, and at most. */
  readonly used: number
  readonly mostUsed: number
  /** How many were open at its end, in use or idle. */
  readonly open: number
  readonly waiting: number
  /** How many of each there were within this second. */
  readonly statements: number
  readonly errors: number
  readonly timeouts: number
}

export interface HolderReport {
  readonly label: string | null
  readonly site: string | null
  readonly heldMillis: number
  /** The fingerprint of what it runs, or null between statements. */
  readonly statement: string | null
  readonly inTransaction: boolean
  /** Why it is worth a look: it runs nothing, or for long. */
  readonly suspicion: 'idle' | 'slow' | null
}

export interface DatabaseReport {
  readonly name: string
  readonly dialect: string
  /** Without the password. */
  readonly url: string
  readonly verdict: Verdict
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
const MOST_SAMPLES = 300
const MOST_HOLDERS = 100
const SAMPLES_A_MINUTE = 60

type Heard = Exclude<keyof DatabaseEvents, 'cleanup' | 'retire'>
type Listeners = { readonly [E in Heard]: (...args: DatabaseEvents[E]) => void }

export class Observation {
  readonly name: string
  readonly #database: Database
  readonly #wait = new RecentTimes()
  readonly #use = new RecentTimes()
  readonly #statement = new RecentTimes()
  readonly #statements = new Statements()
  readonly #errors = new Errors()
  readonly #leaks = new Leaks()
  #samples: Sample[] = []
  #unreachable: { readonly code: string; readonly at: number } | null = null
  #used = 0
  /** The sum of what was in use times how long, since `since` up to `until`. */
  #usage = { millis: 0, since: 0, until: 0 }
  #second = { most: 0, statements: 0, errors: 0, timeouts: 0 }
  #timer: NodeJS.Timeout | undefined

  readonly #listeners: Listeners = {
    connect: () => this.#start(),
    disconnect: () => this.#stop(),
    connectRetry: ({ error }) => {
      this.#unreachable = { code: error.code, at: performance.now() }
      this.#fail(error, null, null)
    },
    create: () => {
      this.#unreachable = null
    },
    acquire: ({ waitMillis }) => {
      this.#count(1)
      if (this.#used > this.#second.most) this.#second.most = this.#used
      this.#wait.record(waitMillis)
    },
    release: ({ heldMillis }) => {
      this.#count(-1)
      this.#use.record(heldMillis)
    },
    timeout: ({ error, label }) => {
      this.#second.timeouts += 1
      if (error.code === 'CONNECTION_FAILED') this.#unreachable = { code: error.code, at: performance.now() }
      this.#fail(error, label, null)
    },
    leak: (event) => {
      this.#leaks.add(event)
    },
    query: ({ durationMillis, error, label, sql }) => {
      this.#second.statements += 1
      this.#statement.record(durationMillis)
      this.#statements.add(sql, label, durationMillis, error !== undefined)
      if (error !== undefined) this.#fail(error, label, sql)
    },
  }

  constructor(database: Database, name: string) {
    this.#database = database
    this.name = name
    this.#listen('on')
    if (database.isConnected) this.#start()
  }

  /** Stops listening. */
  close(): void {
    this.#listen('off')
    this.#stop()
  }

  /** Of up to five minutes, the oldest first. */
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
      verdict: judge({
        isConnected: this.#database.isConnected,
        stats,
        holders,
        wait,
        hasWaited: this.#samples.slice(-2).every(({ waiting }) => waiting > 0),
        timeouts: this.#timeoutsOfLastMinute(),
        leaks: this.#leaks.outstanding,
        unreachable: this.#unreachableOfLate(),
      }),
      stats,
      holders: holders.slice(0, MOST_HOLDERS).map(holderReport),
      times: { wait, use: this.#use.percentiles(), statement: this.#statement.percentiles() },
      statements: this.#statements.slowest(),
      leaks: this.#leaks.latest(),
      errors: this.#errors.latest(),
    }
  }

  #timeoutsOfLastMinute(): number {
    const sampled = this.#samples.slice(-SAMPLES_A_MINUTE)
    return sampled.reduce((sum, { timeouts }) => sum + timeouts, this.#second.timeouts)
  }

  /** With connections enough nobody tries to open one, and a failure of long ago says nothing. */
  #unreachableOfLate(): string | null {
    const { code, at } = this.#unreachable ?? { code: null, at: 0 }
    return performance.now() - at < SAMPLES_A_MINUTE * SAMPLE_MILLIS ? code : null
  }

  #fail(...error: Parameters<Errors['add']>): void {
    this.#second.errors += 1
    this.#errors.add(...error)
  }

  /** Runs only while there is a pool to look at, and keeps no process alive. */
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
    const { errors, most, statements, timeouts } = this.#second
    this.#count(0)
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
    if (this.#samples.length > MOST_SAMPLES) this.#samples.shift()
    // What was lent before it was listened to is not known from events.
    this.#used = used
    this.#usage = { millis: 0, since: until, until }
    this.#second = { most: used, statements: 0, errors: 0, timeouts: 0 }
  }

  #count(change: number): void {
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

function holderReport(holder: Holder): HolderReport {
  const { heldMillis, inTransaction, label, site, sql } = holder
  const statement = sql === null ? null : fingerprintOf(sql)
  const suspicion = isIdle(holder) ? 'idle' : isSlow(holder) ? 'slow' : null
  return { label, site, heldMillis, statement, inTransaction, suspicion }
}
