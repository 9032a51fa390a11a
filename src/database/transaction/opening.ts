/** How a transaction is to be opened, and what is to come after its end. */
import type { Hook } from './hooks'
import type { Limits } from '../context/limits'
import type { TransactionOptions } from '../query/queryable'

type AfterEnd = (hooks: readonly Hook[]) => Promise<void> | undefined

export class Opening {
  readonly options: TransactionOptions
  /** For the transaction as a whole. */
  readonly limits: Limits
  /** Ended by hand, so that waiting for it may be waiting for oneself. */
  readonly isHandle: boolean
  /** Where in the program, if that is worth knowing. */
  readonly site: Error | null
  /** Takes the hooks that are due once it has ended. Undefined: that is all. */
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

/** A transaction without options, whose hooks go nowhere. */
export function unlimited(limits: Limits): Opening {
  return new Opening({}, limits, false, null, () => undefined)
}
