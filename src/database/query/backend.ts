/** What queries and transactions use of their Database: its dialect, its compiler, its settings. */
import type { Knex } from 'knex'
import type { Limits } from '../context/limits'
import type { Dialect } from '../driver/dialect'
import type { Outcome } from '../driver/session'
import type { Settings } from '../options'
import type { Lease } from '../pool/lease'
import type { Compiler } from '../sql/compiler'

export interface Backend {
  readonly dialect: Dialect
  readonly settings: Settings
  readonly compiler: Compiler
  /** Returns the outcome of a transaction whose connection was lost; `unknown` if it cannot be found out. */
  outcomeOf(transactionId: string, limits: Limits): Promise<Outcome>
  /** Runs a builder that only Knex can run, such as a schema change in several steps. */
  runProgram(builder: Knex.SchemaBuilder, lease: Lease): Promise<unknown>
}
