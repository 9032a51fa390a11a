/** The statement that nearly every call makes. */
import type { StatementFacts, Statement } from '../driver/statement'

/** What the caller wants of a result, and in which form. */
export interface Take extends Pick<Statement, 'take'> {
  readonly asArrays?: boolean | undefined
}

/** A class instead of a literal, since it lives across an await: see docs/design.md. */
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
