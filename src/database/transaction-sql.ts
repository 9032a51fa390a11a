/** The statements that open and end a transaction, or a savepoint in one. */
import type { Dialect, Session } from './backend/dialect'
import { TransactionError } from './errors'
import type { TransactionOptions } from './queryable'

export interface TransactionSql {
  readonly open: readonly string[]
  /** They go together with the first statement. */
  readonly waits?: boolean
  readonly commit: string
  readonly rollback: readonly string[]
  /** To be run after either end. */
  readonly close: readonly string[]
}

export function transactionSql(
  dialect: Dialect,
  session: Session,
  depth: number,
  options: TransactionOptions,
): TransactionSql {
  if (depth === 1) return { ...dialect.begin(options, session), commit: 'COMMIT', rollback: ['ROLLBACK'] }
  // Savepoints of one depth take turns, so the depth is name enough.
  const savepoint = `SAVEPOINT millpond_${depth}`
  return {
    open: [savepoint],
    commit: `RELEASE ${savepoint}`,
    // Rolling back to a savepoint leaves it open.
    rollback: [`ROLLBACK TO ${savepoint}`, `RELEASE ${savepoint}`],
    close: [],
  }
}

/** @throws TransactionError when a savepoint asks for what only its outermost transaction could have */
export function refuseOtherModes(asked: TransactionOptions, outermost: TransactionOptions): void {
  for (const mode of ['isolation', 'readOnly', 'deferrable'] as const) {
    if (asked[mode] === undefined || asked[mode] === outermost[mode]) continue
    const has = outermost[mode] === undefined ? 'the default' : JSON.stringify(outermost[mode])
    throw new TransactionError(
      `A transaction inside another one cannot have ${mode} ${JSON.stringify(asked[mode])}: ` +
        `the outermost one has ${has}. Ask for it there.`,
    )
  }
}
