/** The statements that open and end a transaction, or a savepoint in one. */
import type { TransactionStatements, Dialect } from '../driver/dialect'
import type { Session } from '../driver/session'
import { TransactionError } from '../errors'
import type { TransactionOptions } from '../query/queryable'

export class TransactionSql {
  /** The statements that open the transaction, and those that run after its end. */
  readonly begin: TransactionStatements
  readonly commit: string
  readonly rollback: readonly string[]

  constructor(begin: TransactionStatements, commit: string, rollback: readonly string[]) {
    this.begin = begin
    this.commit = commit
    this.rollback = rollback
  }
}

const ROLLBACK = ['ROLLBACK']

export function transactionSql(
  dialect: Dialect,
  session: Session,
  depth: number,
  options: TransactionOptions,
): TransactionSql {
  if (depth === 1) return new TransactionSql(dialect.begin(options, session), 'COMMIT', ROLLBACK)
  // Savepoints of one depth take turns, so the depth makes the name unique.
  const savepoint = `SAVEPOINT millpond_${depth}`
  const release = `RELEASE ${savepoint}`
  // Rolling back to a savepoint leaves it open.
  return new TransactionSql({ open: [savepoint], close: [] }, release, [`ROLLBACK TO ${savepoint}`, release])
}

/** @throws TransactionError when a savepoint asks for a mode that differs from the outermost transaction's */
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
