/** How long one call may take, and who may call it off. */
import { setMaxListeners } from 'node:events'
import { inspect } from 'node:util'
import { ConfigurationError, type DatabaseError, QueryCanceledError, QueryTimeoutError } from './errors'
import { currentScope } from './scope'

/** Why a call ran out: somebody aborted it, or its time was up. */
export type Expiry = { readonly kind: 'aborted'; readonly reason: unknown } | { readonly kind: 'late' }

/** Makes the error for a deadline that passed; `cause` is what the driver said, if it said anything. */
export type Late = (cause?: unknown) => DatabaseError

export interface LimitOptions {
  /** Aborting it takes a waiting call out of its queue and cancels a running statement on the server. */
  readonly signal?: AbortSignal | undefined
  /** For the whole call: waiting for a connection or a turn, and running. */
  readonly timeoutMillis?: number | undefined
}

/** Node fires timers above this at once, instead of late. */
export const LONGEST_TIMER_MILLIS = 2 ** 31 - 1

const neverMind = (): void => undefined

export class Limits {
  readonly #signals: readonly AbortSignal[]
  /** On the clock of performance.now(), in milliseconds. */
  readonly deadline: number
  readonly #late: Late
  readonly #sql: string

  private constructor(signals: readonly AbortSignal[], deadline: number, late: Late, sql: string) {
    this.#signals = signals
    this.deadline = deadline
    this.#late = late
    this.#sql = sql
  }

  /** For what must be seen through, such as ROLLBACK. */
  static readonly none = new Limits([], Infinity, (cause) => timedOut('', 'limits', cause), '')

  /** The call's own options together with those of the scope it is made in. */
  static of(options: LimitOptions | undefined, sql: string): Limits {
    const scope = currentScope()
    const signals: AbortSignal[] = []
    const { signal, timeoutMillis } = options === undefined ? NO_OPTIONS : checkedLimits(options)
    if (signal !== undefined) signals.push(unlimited(signal))
    if (scope?.signal !== undefined && scope.signal !== signal) signals.push(unlimited(scope.signal))
    const own = timeoutMillis === undefined ? Infinity : performance.now() + timeoutMillis
    const inherited = scope?.deadline ?? Infinity
    return own <= inherited
      ? new Limits(signals, own, (cause) => timedOut(sql, `timeoutMillis of ${timeoutMillis} ms`, cause), sql)
      : new Limits(signals, inherited, (cause) => timedOut(sql, 'deadline of its scope', cause), sql)
  }

  /** These limits, or an earlier end. */
  within(millis: number, late: Late): Limits {
    if (millis === Infinity) return this
    const deadline = performance.now() + millis
    return deadline < this.deadline ? new Limits(this.#signals, deadline, late, this.#sql) : this
  }

  /** Until a signal is aborted. */
  static until(signal: AbortSignal): Limits {
    return new Limits([unlimited(signal)], Infinity, Limits.none.#late, '')
  }

  /** These limits and others: whatever ends first. */
  and(other: Limits): Limits {
    if (other.deadline === Infinity && other.#signals.length === 0) return this
    const signals = [...new Set([...this.#signals, ...other.#signals])]
    const earlier = this.deadline <= other.deadline ? this : other
    return new Limits(signals, earlier.deadline, earlier.#late, this.#sql)
  }

  /** Calls back once when the limits run out (at the next tick if they already have). Returns how to stop watching. */
  watch(expired: (expiry: Expiry) => void): () => void {
    if (this.deadline === Infinity && this.#signals.length === 0) return neverMind
    let timer: NodeJS.Timeout | undefined
    const stop = (): void => {
      clearTimeout(timer)
      for (const signal of this.#signals) signal.removeEventListener('abort', onAbort)
    }
    const end = (expiry: Expiry): void => {
      stop()
      expired(expiry)
    }
    const onAbort = (): void => {
      end({ kind: 'aborted', reason: this.#signals.find((signal) => signal.aborted)?.reason })
    }
    const aborted = this.#signals.find((signal) => signal.aborted)
    if (aborted) {
      timer = setTimeout(onAbort, 0)
      return stop
    }
    for (const signal of this.#signals) signal.addEventListener('abort', onAbort)
    if (this.deadline !== Infinity) {
      const left = Math.max(0, this.deadline - performance.now())
      timer = setTimeout(
        () => {
          end({ kind: 'late' })
        },
        Math.min(left, LONGEST_TIMER_MILLIS),
      )
    }
    return stop
  }

  /** @throws when the limits have run out already: for the moment before something is started */
  check(): void {
    const aborted = this.#signals.find((signal) => signal.aborted)
    if (aborted) throw this.error({ kind: 'aborted', reason: aborted.reason })
    if (this.deadline !== Infinity && performance.now() >= this.deadline) {
      throw this.error({ kind: 'late' })
    }
  }

  /** The error for a call that ran out, with the driver's error, if there was one, as its cause. */
  error(expiry: Expiry, cause?: unknown): DatabaseError {
    if (expiry.kind === 'late') return this.#late(cause)
    return new QueryCanceledError('The query was cancelled: its signal was aborted.', this.#sql, {
      cause: cause ?? expiry.reason,
    })
  }
}

const NO_OPTIONS: LimitOptions = {}

function checkedLimits(options: LimitOptions): LimitOptions {
  const { timeoutMillis } = options
  if (timeoutMillis !== undefined && !(typeof timeoutMillis === 'number' && timeoutMillis >= 0)) {
    throw new ConfigurationError(`timeoutMillis is a number from 0 up, got ${inspect(timeoutMillis)}.`)
  }
  return options
}

const known = new WeakSet<AbortSignal>()

/**
 * A signal that any number of queries may wait on: Node warns of a leak from the eleventh listener on.
 *
 * @throws ConfigurationError for what is none
 */
function unlimited(signal: AbortSignal): AbortSignal {
  if (known.has(signal)) return signal
  if (typeof (signal as Partial<AbortSignal> | null)?.addEventListener !== 'function') {
    throw new ConfigurationError(`signal is an AbortSignal, got ${inspect(signal)}.`)
  }
  known.add(signal)
  setMaxListeners(0, signal)
  return signal
}

/** The usual error for a deadline. `what` completes "within the …". */
export function timedOut(sql: string, what: string, cause?: unknown): QueryTimeoutError {
  return new QueryTimeoutError(
    `The query was cancelled: it did not end within the ${what}.`,
    sql,
    cause === undefined ? undefined : { cause },
  )
}
