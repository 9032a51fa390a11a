/** The scope of an async context: a label, a signal, a deadline, a tally, and what each Database is bound to. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { inspect, types } from 'node:util'
import { type Cancellation, checkCancellation } from './canceller'
import { ConfigurationError } from '../errors'

/** Counts what a scope has asked of its databases, which all add to one object. What runs concurrently adds up. */
export interface Tally {
  /** Statements that were run, BEGIN and COMMIT included. */
  statements: number
  /** How long callers waited for connections, with success or not, in milliseconds. */
  waitMillis: number
  /** How long the statements took, in milliseconds. */
  databaseMillis: number
}

export interface Scope {
  /** The name of the work in errors, in `holders()` and in metrics, such as `POST /transfer`. Read when needed. */
  readonly label?: string | undefined
  /** Aborting it cancels every query made in the scope. */
  readonly signal?: Cancellation | undefined
  /** When every query made in the scope must have ended: milliseconds on the clock of performance.now(). */
  readonly deadline?: number | undefined
  /** Every Database adds to it what is done in the scope. What is detached from the scope does not count. */
  readonly tally?: Tally | undefined
}

/**
 * A scope with its bindings. Each Database is the key of its own open connection or transaction, so that two databases
 * never see each other's. A frame has no reference to outer frames: otherwise a job that starts itself again would
 * keep all of them alive.
 */
export class Frame {
  /** The frame outside of every scope. */
  static readonly outside = new Frame(undefined, null)
  readonly scope: ActiveScope | undefined
  readonly bound: Binding | null

  constructor(scope: ActiveScope | undefined, bound: Binding | null) {
    this.scope = scope
    this.bound = bound
  }

  /** Runs work in this frame, as a callback that belongs to it. */
  run<T>(work: () => T): T {
    return storage.run(this, work)
  }

  /** Returns the frame for what follows the end of the scope's work: the bindings of `outer`, no signal, no deadline. */
  ended(outer: Frame): Frame {
    const isFree = this.bound === outer.bound && this.scope?.isLimited !== true
    return isFree ? this : new Frame(this.scope?.ended(), outer.bound)
  }
}

/** The binding of one key, linked to those of others. A list, since a program has few databases. */
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

/** A scope that takes over another one's label and nothing else; its tally may be given. */
class LabelOnly implements Scope {
  readonly tally: Tally | undefined
  readonly #labelled: Scope

  constructor(of: Scope, tally?: Tally) {
    // Never wraps another LabelOnly: a job that detaches itself again and again would make a chain of them.
    this.#labelled = of instanceof LabelOnly ? of.#labelled : of
    this.tally = tally
  }

  get label(): string | undefined {
    return this.#labelled.label
  }
}

const NO_SIGNALS: readonly Cancellation[] = []

/** A scope together with what it inherits from the outer one. */
export class ActiveScope {
  readonly deadline: number | undefined
  readonly tally: Tally | undefined
  /** Its own signal, and those of the outer scopes. */
  readonly signals: readonly Cancellation[]
  /** The scope whose label is read when it is needed: a web framework knows the route later than the request. */
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

  /** True when its queries are cancelled already, or will be at a deadline. */
  get isLimited(): boolean {
    return this.deadline !== undefined || this.signals.some(({ aborted }) => aborted)
  }

  /** Returns a scope with the same label and nothing else, for background jobs. */
  detached(): ActiveScope {
    return new ActiveScope(this.#labelled === undefined ? {} : new LabelOnly(this.#labelled), undefined)
  }

  /** Returns a scope with the same label and tally, for what follows the end of its work. */
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
 * Runs work in a frame. A Knex builder runs only when it is awaited, and the caller awaits it outside of the frame: so a
 * builder that work returns is started here.
 */
function runIn<T>(frame: Frame, work: () => T): T {
  return storage.run(frame, () => {
    const result = work()
    const isLazy =
      typeof result === 'object' && result !== null && 'then' in result && !types.isPromise(result)
    return isLazy ? (Promise.resolve(result) as T) : result
  })
}

/** Returns the frame of this async context, to run callbacks in it later. */
export function currentFrame(): Frame {
  return storage.getStore() ?? Frame.outside
}

export function currentScope(): ActiveScope | undefined {
  return storage.getStore()?.scope
}

/** Adds a statement to the tally of the current scope, which is not always the scope that took the connection. */
export function countStatement(durationMillis: number): void {
  const tally = currentScope()?.tally
  if (tally === undefined) return
  tally.statements += 1
  tally.databaseMillis += durationMillis
}

/**
 * Runs work in a scope of its own. What the new scope leaves out is inherited from the outer scope, and so are open
 * transactions.
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

/** Runs work with `key` bound to nothing, in a scope that has the current label, and no signal and no deadline. */
export function runDetached<T>(key: object, work: () => T): T {
  const outer = storage.getStore()
  return runIn(new Frame(outer?.scope?.detached(), withoutKey(key, outer?.bound ?? null)), work)
}

/** Returns what `key` is bound to in this async context, or undefined. */
export function boundTo(key: object): unknown {
  for (let bound = storage.getStore()?.bound ?? null; bound !== null; bound = bound.others)
    if (bound.key === key) return bound.value
  return undefined
}

/**
 * Runs work outside of every scope: for what serves all callers, such as opening a pooled connection. It does not use
 * `exit`, which turns Node's async hooks off and on again when there is no other storage.
 */
export function outsideOfScopes<T>(work: () => T): T {
  return storage.run(undefined, work)
}
