/** The parts of a Database: its dialect, its Knex instance, its pools. */
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
  /** Returns the outcome of a transaction whose connection was lost; `unknown` if it cannot be found out. */
  outcomeOf(transactionId: string, limits: Limits): Promise<Outcome>
  /** Opens a lock that all processes share; the signal cancels the opening. Calls `lost` when a held lock is lost. */
  openNamedLock(name: string, signal: AbortSignal, lost: () => void): Promise<NamedLock>
  /** Returns what the user may do, and how the connection is protected. */
  security(lease: Lease, limits: Limits): Promise<Security>
  /** Runs a builder that only Knex can run, such as a schema change in several steps. */
  runProgram(builder: Knex.SchemaBuilder, lease: Lease): Promise<unknown>
}
