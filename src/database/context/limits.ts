/** The limits of one call: its deadline, and the signals that cancel it. */
import { setMaxListeners } from 'node:events'
import { inspect } from 'node:util'
import { type Cancellation, checkCancellation, addAbortListener } from './canceller'
import { ConfigurationError, type DatabaseError, QueryCanceledError, QueryTimeoutError } from '../errors'
import { currentScope } from './scope'
import { callAtDeadline } from './timers'

/** Why limits ran out: a signal was aborted, or the deadline has passed. */
export type Expiry = { readonly kind: 'aborted'; readonly reason: unknown } | { readonly kind: 'late' }

/** Makes the error for a deadline that has passed; `cause` is the driver's error, if there is one. */
export type TimeoutErrorFactory = (cause?: unknown) => DatabaseError

export interface LimitOptions {
  /** Aborting it takes a waiting call out of its queue and cancels a running statement on the server. */
  readonly signal?: AbortSignal | undefined
  /** For the whole call: waiting for a connection or a turn, and running. */
  readonly timeoutMillis?: number | undefined
}

const noop = (): void => undefined
const NO_SIGNALS: readonly Cancellation[] = []

export class Limits {
  readonly #signals: readonly Cancellation[]
  /** On the clock of performance.now(), in milliseconds. */
  readonly deadline: number
  /** Makes the error of the deadline; null for the usual one. */
  readonly #makeTimeoutError: TimeoutErrorFactory | null
  /** The call's own option, if the deadline comes from it and not from the scope. */
  readonly #timeoutMillis: number | undefined
  readonly #sql: string

  private constructor(
    signals: readonly Cancellation[],
    deadline: number,
    makeTimeoutError: TimeoutErrorFactory | null,
    sql: string,
    timeoutMillis?: number,
  ) {
    this.#signals = signals
    this.deadline = deadline
    this.#makeTimeoutError = makeTimeoutError
    this.#sql = sql
    this.#timeoutMillis = timeoutMillis
  }

  /** No limits, for what must not be cancelled, such as ROLLBACK. */
  static readonly none = new Limits(NO_SIGNALS, Infinity, null, '')

  /** Returns the limits of a call: its own options and those of its scope, whichever end first. */
  static of(options: LimitOptions | undefined, sql: string): Limits {
    const scope = currentScope()
    const inherited = scope?.deadline ?? Infinity
    const outer = scope === undefined ? NO_SIGNALS : scope.signals
    if (options === undefined) return new Limits(outer, inherited, null, sql)
    const { signal, timeoutMillis } = checkedLimits(options)
    const signals = signal === undefined || outer.includes(signal) ? outer : [signal, ...outer]
    const own = timeoutMillis === undefined ? Infinity : performance.now() + timeoutMillis
    return own <= inherited
      ? new Limits(signals, own, null, sql, timeoutMillis)
      : new Limits(signals, inherited, null, sql)
  }

  /** Returns these limits, narrowed to `millis` from `now` on if that ends earlier. */
  within(millis: number, makeError: TimeoutErrorFactory, now = performance.now()): Limits {
    if (millis === Infinity) return this
    const deadline = now + millis
    return deadline < this.deadline ? new Limits(this.#signals, deadline, makeError, this.#sql) : this
  }

  /**
   * Returns these limits, narrowed by the statement timeout and by the `.timeout()` of the statement's builder, from `now` on.
   */
  ofStatement(sql: string, timeoutMillis: number, builderMillis: number | undefined, now: number): Limits {
    const bounded = this.within(
      timeoutMillis,
      (cause) => queryTimeoutError(sql, `statement timeout of ${timeoutMillis} ms`, cause),
      now,
    )
    if (builderMillis === undefined) return bounded
    return bounded.within(builderMillis, (cause) =>
      queryTimeoutError(sql, `timeout(${builderMillis}) of its builder`, cause),
    )
  }

  get remainingMillis(): number {
    return Math.max(0, this.deadline - performance.now())
  }

  /** Returns limits that run out when a signal is aborted. */
  static until(signal: Cancellation): Limits {
    return new Limits([signal], Infinity, null, '')
  }

  /** Returns limits that run out when these or others do. */
  and(other: Limits): Limits {
    if (this.covers(other)) return this
    const signals = [...new Set([...this.#signals, ...other.#signals])]
    const earlier = this.deadline <= other.deadline ? this : other
    return new Limits(signals, earlier.deadline, earlier.#makeTimeoutError, this.#sql, earlier.#timeoutMillis)
  }

  /** True when these run out no later than the others in every case. */
  covers(other: Limits): boolean {
    return this.deadline <= other.deadline && other.#signals.every((signal) => this.#signals.includes(signal))
  }

  /** Calls `expired` once when the limits run out; in a later tick if they have already. Returns how to stop watching. */
  watch(expired: (expiry: Expiry) => void): () => void {
    if (this.#signals.length === 0) {
      if (this.deadline === Infinity) return noop
      return callAtDeadline(this.deadline, () => {
        expired({ kind: 'late' })
      })
    }
    let cancelTimer = noop
    let removeListeners: readonly (() => void)[] | null = null
    const stop = (): void => {
      cancelTimer()
      for (const remove of removeListeners ?? []) remove()
    }
    const end = (expiry: Expiry): void => {
      stop()
      expired(expiry)
    }
    const onAbort = (): void => {
      end({ kind: 'aborted', reason: this.#aborted?.reason })
    }
    if (this.#aborted !== undefined) {
      const timer = setTimeout(onAbort, 0)
      cancelTimer = () => {
        clearTimeout(timer)
      }
      return stop
    }
    removeListeners = this.#signals.map((signal) => {
      allowManyListeners(signal)
      return addAbortListener(signal, onAbort)
    })
    if (this.deadline !== Infinity) {
      cancelTimer = callAtDeadline(this.deadline, () => {
        end({ kind: 'late' })
      })
    }
    return stop
  }

  /** Called before something is started. @throws the error of these limits, if they have run out */
  check(): void {
    const aborted = this.#aborted
    if (aborted !== undefined) throw this.error({ kind: 'aborted', reason: aborted.reason })
    if (this.deadline !== Infinity && performance.now() >= this.deadline) {
      throw this.error({ kind: 'late' })
    }
  }

  /** Returns the error for limits that ran out. `cause`: the driver's error, if there is one. */
  error(expiry: Expiry, cause?: unknown): DatabaseError {
    if (expiry.kind === 'late')
      return this.#makeTimeoutError?.(cause) ?? queryTimeoutError(this.#sql, this.#limitName, cause)
    const { reason } = expiry
    // The message of the default reason adds nothing.
    const detail = reason instanceof Error && reason.name !== 'AbortError' ? ` ${reason.message}` : ''
    const message = `The query was cancelled: its signal was aborted.${detail}`
    return new QueryCanceledError(message, this.#sql, { cause: cause ?? reason })
  }

  get #aborted(): Cancellation | undefined {
    for (const signal of this.#signals) if (signal.aborted) return signal
    return undefined
  }

  get #limitName(): string {
    const millis = this.#timeoutMillis
    return millis === undefined ? 'deadline of its scope' : `timeoutMillis of ${millis} ms`
  }
}

function checkedLimits(options: LimitOptions): LimitOptions {
  const { signal, timeoutMillis } = options
  if (signal !== undefined) checkCancellation(signal)
  if (timeoutMillis !== undefined && !(typeof timeoutMillis === 'number' && timeoutMillis >= 0)) {
    throw new ConfigurationError(`timeoutMillis is a number from 0 up, got ${inspect(timeoutMillis)}.`)
  }
  return options
}

const unwarnedSignals = new WeakSet<Cancellation>()

/** Turns off Node's warning about eleven listeners: any number of queries may wait on one signal. */
function allowManyListeners(signal: Cancellation): void {
  if (unwarnedSignals.has(signal) || !('dispatchEvent' in signal)) return
  unwarnedSignals.add(signal)
  setMaxListeners(0, signal as AbortSignal)
}

/** Returns the usual error for a deadline. `limitName` completes "within the …". */
export function queryTimeoutError(sql: string, limitName: string, cause?: unknown): QueryTimeoutError {
  return new QueryTimeoutError(
    `The query was cancelled: it did not end within the ${limitName}.`,
    sql,
    cause === undefined ? undefined : { cause },
  )
}
