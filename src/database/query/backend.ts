/** What a Database stands on: its dialect, its Knex instance, its pools. */
import type { Knex } from 'knex'
import type { Limits } from '../context/limits'
import type { Dialect, Security } from '../driver/dialect'
import type { NamedLock, Outcome } from '../driver/session'
import type { Settings } from '../options'
import type { Lease } from '../pool/lease'
import type { Pool } from '../pool/pool'
import type { Compiler } from '../sql/compiler'

export interface Backend {
  readonly dialect: Dialect
  readonly settings: Settings
  readonly compiler: Compiler
  readonly knex: Knex
  /** A pool lives from connect() to disconnect(), so each connect() makes its own. */
  createPool(prepare: (lease: Lease) => Promise<void>): Pool
  /** What became of a transaction whose connection was lost; `unknown` if that cannot be found out. */
  outcomeOf(transactionId: string, limits: Limits): Promise<Outcome>
  /** Prepares to have a name for oneself, among all processes that use the database, unless the signal is aborted first. */
  namedLock(name: string, signal: AbortSignal, lost: () => void): Promise<NamedLock>
  /** What operators should know of a connection. */
  security(lease: Lease, limits: Limits): Promise<Security>
  /** Runs a builder that only Knex can run, such as a schema change in several steps. */
  runProgram(builder: Knex.SchemaBuilder, lease: Lease): Promise<unknown>
}
