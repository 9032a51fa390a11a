/** What this async context carries: a label, a signal, a deadline, and what each Database is bound to. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { inspect, types } from 'node:util'
import { type Cancellation, checkCancellation } from './canceller'
import { ConfigurationError } from '../errors'

/** What a scope has asked of its databases: one object, which they add to. What runs side by side adds up. */
export interface Tally {
  /** Statements that were run, BEGIN and COMMIT included. */
  statements: number
  /** How long connections were waited for, in vain or not, in milliseconds. */
  waitMillis: number
  /** How long the statements took, in milliseconds. */
  databaseMillis: number
}

export interface Scope {
  /** What the work is called in errors, in `holders()` and in metrics, such as `POST /transfer`. Read when needed. */
  readonly label?: string | undefined
  /** Aborting it cancels every query made in the scope. */
  readonly signal?: Cancellation | undefined
  /** When every query made in the scope must have ended: milliseconds on the clock of performance.now(). */
  readonly deadline?: number | undefined
  /** Every Database adds to it what is done in the scope. What is detached from the scope does not count. */
  readonly tally?: Tally | undefined
}

/**
 * A scope with its bindings. Each Database finds its open connection or transaction under itself as the key, so
 * that two databases never see each other's. A frame knows nothing of those around it, or a job that starts itself
 * again would carry all of its past along.
 */
export class Frame {
  /** Outside of everything. */
  static readonly outside = new Frame(undefined, null)
  readonly scope: ActiveScope | undefined
  readonly bound: Binding | null

  constructor(scope: ActiveScope | undefined, bound: Binding | null) {
    this.scope = scope
    this.bound = bound
  }

  /** Calls somebody back in it. */
  run<T>(work: () => T): T {
    return storage.run(this, work)
  }

  /** The same scope when its work is over: with the transactions of `outer` only, and free of its signal and deadline. */
  ended(outer: Frame): Frame {
    const isFree = this.bound === outer.bound && this.scope?.isLimited !== true
    return isFree ? this : new Frame(this.scope?.ended(), outer.bound)
  }
}

/** What a key is bound to, and what others are: a program has few databases, and many transactions. */
class Binding {
  readonly key: object
  readonly value: unknown
  readonly others: Binding | null

  constructor(key: object, value: unknown, others: Binding | null) {
    this.key = key
    this.value = value
    this.others = others
  }
}

function withoutKey(key: object, bound: Binding | null): Binding | null {
  if (bound === null) return null
  const others = withoutKey(key, bound.others)
  if (bound.key === key) return others
  return others === bound.others ? bound : new Binding(bound.key, bound.value, others)
}

/** The label of a scope and nothing else of it, but its tally if that is given. */
class LabelOnly implements Scope {
  readonly tally: Tally | undefined
  readonly #labelled: Scope

  constructor(of: Scope, tally?: Tally) {
    // Not one of these in another: a job that detaches itself again and again would make a chain of them.
    this.#labelled = of instanceof LabelOnly ? of.#labelled : of
    this.tally = tally
  }

  get label(): string | undefined {
    return this.#labelled.label
  }
}

const NO_SIGNALS: readonly Cancellation[] = []

/** A scope with what it takes over from the one around it. */
export class ActiveScope {
  readonly deadline: number | undefined
  readonly tally: Tally | undefined
  /** Its own, and those of the scopes around it. */
  readonly signals: readonly Cancellation[]
  /** Where the label is read when it is needed: a web framework knows its route later than its request. */
  readonly #labelled: Scope | undefined

  constructor(own: Scope, outer: ActiveScope | undefined) {
    this.#labelled = 'label' in own ? own : outer && outer.#labelled
    this.tally = own.tally ?? outer?.tally
    const signals = outer === undefined ? NO_SIGNALS : outer.signals
    this.signals = own.signal === undefined ? signals : [own.signal, ...signals]
    const deadline = Math.min(own.deadline ?? Infinity, outer?.deadline ?? Infinity)
    this.deadline = deadline === Infinity ? undefined : deadline
  }

  get label(): string | undefined {
    return this.#labelled?.label
  }

  /** Something keeps its queries from running, or will. */
  get isLimited(): boolean {
    return this.deadline !== undefined || this.signals.some(({ aborted }) => aborted)
  }

  /** A scope with the same label and nothing else, for what goes on by itself. */
  detached(): ActiveScope {
    return new ActiveScope(this.#labelled === undefined ? {} : new LabelOnly(this.#labelled), undefined)
  }

  /** A scope with the same label and tally, for what follows the end of its work. */
  ended(): ActiveScope {
    const { tally } = this
    return new ActiveScope(
      this.#labelled === undefined ? { tally } : new LabelOnly(this.#labelled, tally),
      undefined,
    )
  }
}

// Only `run` is ever used: `enterWith` leaks into the caller and into its siblings.
const storage = new AsyncLocalStorage<Frame | undefined>()

/**
 * A Knex builder does nothing until somebody waits for it: one that work returns is started here, inside, since whoever
 * waits for it does so outside.
 */
function runIn<T>(frame: Frame, work: () => T): T {
  return storage.run(frame, () => {
    const result = work()
    const isLazy =
      typeof result === 'object' && result !== null && 'then' in result && !types.isPromise(result)
    return isLazy ? (Promise.resolve(result) as T) : result
  })
}

/** What this async context carries, to call somebody back in it later. */
export function currentFrame(): Frame {
  return storage.getStore() ?? Frame.outside
}

export function currentScope(): ActiveScope | undefined {
  return storage.getStore()?.scope
}

/** Adds a statement to the tally of the scope that asked, which is not always the one that took the connection. */
export function countStatement(durationMillis: number): void {
  const tally = currentScope()?.tally
  if (tally === undefined) return
  tally.statements += 1
  tally.databaseMillis += durationMillis
}

/**
 * Runs work in a scope of its own. What the new scope leaves out is inherited from the scope around it, and so
 * are open transactions.
 *
 * @throws ConfigurationError for a scope that could not be honoured
 * @example
 * const result = await runInScope({ label: 'nightly report', signal }, () => database.fetchAll(report))
 */
export function runInScope<T>(scope: Scope, work: () => T): T {
  checkScope(scope)
  const outer = storage.getStore()
  return runIn(new Frame(new ActiveScope(scope, outer?.scope), outer?.bound ?? null), work)
}

const SCOPE_KEYS = ['label', 'signal', 'deadline', 'tally']

function checkScope(scope: Scope): void {
  if (typeof scope !== 'object' || scope === null) {
    throw new ConfigurationError(`A scope is an object, got ${inspect(scope)}.`)
  }
  const unknown = Object.keys(scope).find((name) => !SCOPE_KEYS.includes(name))
  if (unknown !== undefined) {
    throw new ConfigurationError(`A scope has no '${unknown}'. Known parts are ${SCOPE_KEYS.join(', ')}.`)
  }
  const { deadline, signal } = scope
  if (signal !== undefined) checkCancellation(signal)
  if (deadline !== undefined && (typeof deadline !== 'number' || Number.isNaN(deadline))) {
    throw new ConfigurationError(
      `The deadline of a scope is a number on the clock of performance.now(), got ${inspect(deadline)}.`,
    )
  }
}

/** Runs work with `key` bound to `bound` for all of its async descendants. */
export function runBound<T>(key: object, bound: unknown, work: () => T): T {
  const outer = storage.getStore()
  const others = withoutKey(key, outer?.bound ?? null)
  return runIn(new Frame(outer?.scope, new Binding(key, bound, others)), work)
}

/** Runs work with `key` bound to nothing, and free of the scope's signal and deadline: only its label stays. */
export function runDetached<T>(key: object, work: () => T): T {
  const outer = storage.getStore()
  return runIn(new Frame(outer?.scope?.detached(), withoutKey(key, outer?.bound ?? null)), work)
}

/** What `key` is bound to here, or undefined. */
export function boundTo(key: object): unknown {
  for (let bound = storage.getStore()?.bound ?? null; bound !== null; bound = bound.others)
    if (bound.key === key) return bound.value
  return undefined
}

/**
 * Runs work outside of every scope: for what belongs to all callers, such as opening a pooled connection. Not by `exit`,
 * which turns the hooks of Node off and on again when there is no other storage.
 */
export function outsideOfScopes<T>(work: () => T): T {
  return storage.run(undefined, work)
}
