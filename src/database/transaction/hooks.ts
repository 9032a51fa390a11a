/** The hooks of a transaction, afterCommit and afterRollback: they run when the outermost transaction has ended. */
import { attachCleanup, TransactionError } from '../errors'
import { runBound } from '../context/scope'

/** Work that runs after the outermost transaction has ended. */
export interface Hook {
  readonly on: 'commit' | 'rollback'
  readonly work: () => unknown
}

/** The hooks of one transaction. The list is made at the first hook, since most transactions have none. */
export class Hooks {
  #list: Hook[] | null = null

  get all(): readonly Hook[] {
    return this.#list ?? NONE
  }

  add(hooks: readonly Hook[]): void {
    if (hooks.length > 0) (this.#list ??= []).push(...hooks)
  }

  clear(): void {
    this.#list = null
  }
}

const NONE: readonly Hook[] = []

/** Runs work, then the hooks that it has added, inside `enclosing()`. An error of the work wins over one of a hook. */
export async function withHooks<T>(
  key: object,
  enclosing: () => object | null,
  hooks: Hooks,
  work: () => Promise<T>,
): Promise<T> {
  let result: T
  try {
    result = await work()
  } catch (error) {
    await runHooks(key, enclosing(), hooks.all).catch((cleanup: unknown) => {
      attachCleanup(error, cleanup)
    })
    throw error
  }
  if (hooks.all.length > 0) await runHooks(key, enclosing(), hooks.all)
  return result
}

/**
 * Runs all hooks, even after one of them fails.
 *
 * @throws TransactionError when a hook fails; the transaction has ended all the same
 */
export async function runHooks(key: object, enclosing: object | null, hooks: readonly Hook[]): Promise<void> {
  let failure: TransactionError | undefined
  for (const { on, work } of hooks) {
    try {
      await runBound(key, enclosing, async () => work())
    } catch (cause) {
      if (failure !== undefined) attachCleanup(failure, cause)
      failure ??= new TransactionError(
        `The transaction has ended as it was told to, but the work that was to follow its ${on} failed.`,
        { cause },
      )
    }
  }
  if (failure !== undefined) throw failure
}

/**
 * Returns the hooks that a savepoint leaves to its parent. A released savepoint leaves all of them. A savepoint that was
 * rolled back leaves its afterRollback hooks, which then run whether the parent commits or rolls back.
 */
export function hooksForParent(hooks: readonly Hook[], outcome: 'commit' | 'rollback'): Hook[] {
  if (outcome === 'commit') return [...hooks]
  return hooks.flatMap((hook) => (hook.on === 'commit' ? [] : [{ ...hook, on: 'commit' }, hook]))
}
