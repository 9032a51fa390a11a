/** How to open a transaction, and what to do after its end. */
import type { Hook } from './hooks'
import type { Limits } from '../context/limits'
import type { TransactionOptions } from '../query/queryable'

type AfterEnd = (hooks: readonly Hook[]) => Promise<void> | undefined

export class Opening {
  readonly options: TransactionOptions
  /** The limits of the whole transaction. */
  readonly limits: Limits
  /** True for a transaction that the caller ends: waiting for it may be a deadlock. */
  readonly isHandle: boolean
  /** The call site, or null where it is not recorded. */
  readonly site: Error | null
  /** Receives the due hooks after the end. Returns undefined if there is nothing to await. */
  readonly afterEnd: AfterEnd

  constructor(
    options: TransactionOptions,
    limits: Limits,
    isHandle: boolean,
    site: Error | null,
    afterEnd: AfterEnd,
  ) {
    this.options = options
    this.limits = limits
    this.isHandle = isHandle
    this.site = site
    this.afterEnd = afterEnd
  }
}

/** Opens a transaction without options, and drops its hooks. */
export function plainOpening(limits: Limits): Opening {
  return new Opening({}, limits, false, null, () => undefined)
}
