/** What is to be done once the outermost transaction has ended: afterCommit and afterRollback. */
import { attachCleanup, TransactionError } from '../errors'
import { runBound } from '../context/scope'

/** Work to be done when the outermost transaction has ended. */
export interface Hook {
  readonly on: 'commit' | 'rollback'
  readonly work: () => unknown
}

/** Those of one transaction. There is one for each, and most stay empty. */
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

/** Runs work and then the hooks that it has left. An error of the work stays the one that is thrown. */
export async function followedBy<T>(
  key: object,
  around: () => object | null,
  after: Hooks,
  work: () => Promise<T>,
): Promise<T> {
  let result: T
  try {
    result = await work()
  } catch (error) {
    await runHooks(key, around(), after.all).catch((cleanup: unknown) => {
      attachCleanup(error, cleanup)
    })
    throw error
  }
  if (after.all.length > 0) await runHooks(key, around(), after.all)
  return result
}

/**
 * Runs all of them, also after one that fails.
 *
 * @throws TransactionError when one of them fails, which changes nothing about the transaction
 */
export async function runHooks(key: object, around: object | null, hooks: readonly Hook[]): Promise<void> {
  let failure: TransactionError | undefined
  for (const { on, work } of hooks) {
    try {
      await runBound(key, around, async () => work())
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

/** What a savepoint leaves to its parent: a commit in here is none yet; a rollback is one, whatever follows. */
export function handUp(hooks: readonly Hook[], outcome: 'commit' | 'rollback'): Hook[] {
  if (outcome === 'commit') return [...hooks]
  return hooks.flatMap((hook) => (hook.on === 'commit' ? [] : [{ ...hook, on: 'commit' }, hook]))
}
