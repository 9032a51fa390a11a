/** What this async context carries: a label, a signal, a deadline, and what each Database is bound to. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { types } from 'node:util'

export interface Scope {
  /** What the work is called in errors, in `holders()` and in metrics, such as `POST /transfer`. Read when needed. */
  readonly label?: string | undefined
  /** Aborting it cancels every query made in the scope. */
  readonly signal?: AbortSignal | undefined
  /** When every query made in the scope must have ended: milliseconds on the clock of performance.now(). */
  readonly deadline?: number | undefined
}

/**
 * A scope with its bindings. Each Database finds its open connection or transaction under itself as the key, so
 * that two databases never see each other's. Kept as a chain, since a scope is hardly ever more than three deep.
 */
interface Frame {
  readonly scope: Scope
  readonly key: object | null
  readonly bound: unknown
  readonly outer: Frame | undefined
}

// Only `run` is ever used: `enterWith` leaks into the caller and into its siblings.
const storage = new AsyncLocalStorage<Frame>()

const EMPTY: Scope = {}

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

export function currentScope(): Scope | undefined {
  return storage.getStore()?.scope
}

/**
 * Runs work in a scope of its own. What the new scope leaves out is inherited from the scope around it, and so
 * are open transactions.
 *
 * @example
 * const result = await runInScope({ label: 'nightly report', signal }, () => database.fetchAll(report))
 */
export function runInScope<T>(scope: Scope, work: () => T): T {
  const outer = storage.getStore()
  return runIn({ scope: inherit(scope, outer?.scope), key: null, bound: undefined, outer }, work)
}

/** Label is read through a getter, because a web framework knows its route later than its request. */
function inherit(scope: Scope, outer: Scope | undefined): Scope {
  if (outer === undefined) return scope
  const deadline = Math.min(scope.deadline ?? Infinity, outer.deadline ?? Infinity)
  const signals = [scope.signal, outer.signal].filter((signal) => signal !== undefined)
  return {
    get label() {
      return scope.label ?? outer.label
    },
    signal: signals.length > 1 ? AbortSignal.any(signals) : signals[0],
    deadline: deadline === Infinity ? undefined : deadline,
  }
}

/** Runs work with `key` bound to `bound` for all of its async descendants. */
export function runBound<T>(key: object, bound: unknown, work: () => T): T {
  const outer = storage.getStore()
  return runIn({ scope: outer?.scope ?? EMPTY, key, bound, outer }, work)
}

/** Runs work with `key` bound to nothing, and free of the scope's signal and deadline: only its label stays. */
export function runDetached<T>(key: object, work: () => T): T {
  const outer = storage.getStore()
  const around = outer?.scope ?? EMPTY
  const scope: Scope = {
    get label() {
      return around.label
    },
  }
  return runIn({ scope, key, bound: undefined, outer }, work)
}

/** What `key` is bound to here, or undefined. */
export function boundTo(key: object): unknown {
  for (let frame = storage.getStore(); frame !== undefined; frame = frame.outer) {
    if (frame.key === key) return frame.bound
  }
  return undefined
}

/** Runs work outside of every scope: for what belongs to all callers, such as opening a pooled connection. */
export function outsideOfScopes<T>(work: () => T): T {
  return storage.exit(work)
}
