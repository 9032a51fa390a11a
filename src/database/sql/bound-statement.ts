/** A statement as nearly every call makes one. */
import type { StatementFacts, Statement } from '../driver/statement'

/** What the caller is after, and how he takes rows. */
export interface Take extends Pick<Statement, 'take'> {
  readonly asArrays?: boolean | undefined
}

/** A class and no literal, since it lives while the database is asked: see docs/design.md. */
export class BoundStatement implements Statement {
  readonly sql: string
  readonly bindings: readonly unknown[]
  readonly facts: StatementFacts
  readonly take: Statement['take']
  readonly asArrays: boolean

  constructor(sql: string, bindings: readonly unknown[], facts: StatementFacts, { take, asArrays }: Take) {
    this.sql = sql
    this.bindings = bindings
    this.facts = facts
    this.take = take
    this.asArrays = asArrays === true
  }
}
