/** Knex's own transactions, which run in one of ours. Tried with Knex 3.3.0. */
import type { Knex } from 'knex'
import { TransactionError } from '../errors'
import { type Hold, hostOf, type LeasedClient } from './host'
import { TransactionPlace } from './places'
import type { StatementRunner } from '../pool/lease'

export interface TransactionConfig {
  readonly connection?: object
  /** SQLite's: whether foreign keys are to be checked meanwhile. */
  readonly enforceForeignCheck?: boolean | null
}

export type Container = (transactor: unknown) => unknown

/** Knex's Transaction. What it sends goes through a client that it makes for itself. */
interface KnexTransaction {
  readonly trxClient: object
  readonly isolationLevel?: NonNullable<TransactionPlace['modes']['isolation']>
  readonly readOnly?: boolean
  isCompleted(): boolean
  begin(raw: object): Promise<unknown>
  savepoint(raw: object): Promise<unknown>
  commit(raw: object, value: unknown): Promise<unknown>
  acquireConnection<T>(config: object, work: (raw: object) => Promise<T>): Promise<T>
  /** SQLite's. Knex does not wait for it. */
  _restoreForeignCheck?(raw: object, isOn: boolean | null | undefined): Promise<unknown>
}

/** A client that lends a connection to one transaction, and takes it back. */
interface TransactionClient extends LeasedClient {
  acquireConnection(): Promise<object>
  releaseConnection(): Promise<void>
}

/** Makes a transaction, given the client for it and its work. */
type Make = (client: TransactionClient, work: Container) => unknown

/** A transaction of Knex on a connection lent for it, or on that of `config`. */
export function transactionOn(
  client: LeasedClient,
  work: Container,
  config: TransactionConfig | undefined,
  make: Make,
): Knex.Transaction {
  const host = hostOf(client)
  const given = config?.connection
  let hold: Hold | undefined
  const place = new TransactionPlace(() => hold?.ground ?? host.groundOf(given as object))
  const own: TransactionClient = Object.assign(Object.create(client) as LeasedClient, {
    async acquireConnection() {
      hold = await host.hold()
      return hold.raw
    },
    releaseConnection: async () => hold?.release(),
  })
  const inside: Container = (transactor) => {
    const run = (): unknown => work(transactor)
    return hold?.inside === undefined || place.begun === null ? run() : hold.inside(place.begun, run)
  }
  return begunAt(place, make(own, inside), () => Promise.resolve(hold?.expose() ?? (given as object)))
}

/** A transaction in another one of Knex's: a savepoint, which is a statement like any other. */
export function savepointIn(
  client: LeasedClient & Pick<TransactionClient, 'acquireConnection'>,
  work: Container,
  make: Make,
): Knex.Transaction {
  const own: TransactionClient = Object.assign(Object.create(client) as LeasedClient, {
    acquireConnection: () => Promise.resolve(client.driverConnection as object),
    releaseConnection: () => Promise.resolve(),
  })
  return begunAt(client.place as StatementRunner, make(own, work), client.acquireConnection)
}

/** Tells the transaction's client where it runs. It is asked for its connection by whoever wants to use that himself. */
function begunAt(
  place: StatementRunner,
  made: unknown,
  acquireConnection: () => Promise<object>,
): Knex.Transaction {
  const transaction = made as KnexTransaction
  restoreBeforeRelease(transaction)
  for (const how of ['begin', 'savepoint'] as const) {
    const begin = transaction[how].bind(transaction)
    transaction[how] = async (raw) => {
      const { isolationLevel: isolation, readOnly } = transaction
      if (place instanceof TransactionPlace && how === 'begin')
        place.modes = { ...(isolation && { isolation }), ...(readOnly !== undefined && { readOnly }) }
      Object.assign(transaction.trxClient, { place, driverConnection: raw, acquireConnection })
      await begin(raw)
      // Knex would run the work even so.
      if (transaction.isCompleted()) throw new TransactionError('The transaction was not begun.')
    }
  }
  if (place instanceof TransactionPlace) {
    const commit = transaction.commit.bind(transaction)
    transaction.commit = async (raw, value) => {
      await commit(raw, value)
      // Knex's own resolves for whoever commits by hand.
      if (place.commitFailure !== null) throw place.commitFailure
    }
  }
  return made as Knex.Transaction
}

/** On SQLite: foreign keys are as they were before somebody else has the connection, or the caller goes on. */
function restoreBeforeRelease(transaction: KnexTransaction): void {
  const restore = transaction._restoreForeignCheck?.bind(transaction)
  if (restore === undefined) return
  let restored: Promise<unknown> | undefined
  transaction._restoreForeignCheck = (...args) => (restored = restore(...args))
  const acquire = transaction.acquireConnection.bind(transaction)
  transaction.acquireConnection = (config, work) =>
    acquire(config, async (raw) => {
      try {
        return await work(raw)
      } finally {
        // Knex tells of what goes wrong there by itself.
        await restored?.catch(() => undefined)
      }
    })
}
