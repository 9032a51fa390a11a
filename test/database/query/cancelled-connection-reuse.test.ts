/**
 * A statement is cancelled in every way and at every moment, and its connection is used again at once: no other
 * statement is cancelled, no connection is lost, and no statement is left running.
 *
 * MILLPOND_ROUNDS=n sets how many rounds there are per database.
 */
import { rounds } from '../../support/rounds'
import {
  type Database,
  DatabaseError,
  QueryCanceledError,
  QueryTimeoutError,
  runInScope,
  TransactionClosedError,
} from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { waitFor } from '../../support/wait-for'
import { endless, numbers } from '../support'

const ROUNDS = rounds(80, 300, 'MILLPOND_ROUNDS')
const LONGEST_MILLIS = 30_000 + ROUNDS * 100
const STATEMENT_TIMEOUT_MILLIS = 15

/** A way to cancel. */
interface Cancelling {
  /** Runs work within the limits of this way. */
  start<T>(work: (options: { signal?: AbortSignal; timeoutMillis?: number }) => Promise<T>): Promise<T>
  /** Cancels, unless a time limit does. */
  cancel(): void
}

const WAYS: Readonly<Record<string, (soonMillis: number) => Cancelling>> = {
  'by signal': () => {
    const controller = new AbortController()
    return {
      start: (work) => work({ signal: controller.signal }),
      cancel: () => {
        controller.abort()
      },
    }
  },
  'by the signal of its scope': () => {
    const controller = new AbortController()
    return {
      start: (work) => runInScope({ signal: controller.signal }, () => work({})),
      cancel: () => {
        controller.abort()
      },
    }
  },
  'by timeoutMillis': (timeoutMillis) => ({
    start: (work) => work({ timeoutMillis }),
    cancel: () => undefined,
  }),
  'by the deadline of its scope': (soonMillis) => ({
    start: (work) => runInScope({ deadline: performance.now() + soonMillis }, () => work({})),
    cancel: () => undefined,
  }),
  'by the statement timeout': () => ({ start: (work) => work({}), cancel: () => undefined }),
}

let texts = 0

type Victim = (database: Database, sql: string, options: object) => Promise<unknown>

/** How the cancelled statement is run. */
const PLACES: Readonly<Record<string, Victim>> = {
  alone: (database, sql, options) => database.fetchVal(sql, {}, options),
  'a builder': (database, sql, options) => database.fetchAll(database.knex.raw(sql), {}, options),
  'a stream': async (database, sql, options) => {
    for await (const _ of database.iterate(sql, {}, { ...options, batchSize: 3 })) await Promise.resolve()
  },
  'in a transaction': (database, sql, options) =>
    database.transaction(async (tx) => {
      await tx.execute('insert into undone values (1)')
      await tx.fetchVal(sql, {}, options)
      throw new Undone()
    }),
  'a whole transaction': (database, sql, options) =>
    database.transaction(async (tx) => {
      await tx.execute('insert into undone values (1)')
      await tx.fetchVal(sql)
      throw new Undone()
    }, options),
  'in a savepoint': (database, sql, options) =>
    database.transaction(async (tx) => {
      await tx.execute('insert into undone values (1)')
      await tx.transaction((inner) => inner.fetchVal(sql, {}, options)).catch(() => undefined)
      await tx.fetchVal('select 1')
      throw new Undone()
    }),
  'in a transaction that goes on': (database, sql, options) =>
    database.transaction(async (tx) => {
      await tx.execute('insert into undone values (1)')
      // A text of its own, whose columns are not cached.
      const text = `${sql} /* ${(texts += 1)} */`
      const [cancelled] = await Promise.allSettled([tx.fetchVal(text, {}, options)])
      await tx.execute('insert into undone values (2)').catch(() => undefined)
      throw cancelled.status === 'rejected' ? cancelled.reason : new Undone()
    }),
  'a stream in a transaction': (database, sql, options) =>
    database.transaction(async (tx) => {
      for await (const _ of tx.iterate(sql, {}, { ...options, batchSize: 3 })) await Promise.resolve()
      throw new Undone()
    }),
  'in a queue for its turn': (database, sql, options) =>
    database.transaction(async (tx) => {
      await Promise.all([tx.fetchVal(sql, {}, options), tx.fetchVal(sql, {}, options)])
      throw new Undone()
    }),
  'in a queue for a connection': (database, sql, options) =>
    Promise.all([database.fetchVal(sql, {}, options), database.fetchVal(sql, {}, options)]),
  executeMany: (database, sql, options) =>
    database.executeMany(
      'insert into undone values (:n)',
      (async function* () {
        yield { n: 1 }
        // It ends with its transaction.
        await database.fetchVal(sql, {}, options)
        throw new Undone()
      })(),
      options,
    ),
}

eachDatabase('the only connection of a pool', (context) => {
  const slow = endless(context.dialect)
  let database: Database
  let shortTimeout: Database

  beforeEach(async () => {
    const pool = { size: 1, maxOverflow: 0 }
    database = await context.open({ pool })
    await database.execute('create table t (id integer primary key)')
    await database.execute('create table undone (n integer)')
    shortTimeout = await context.open({ pool, statementTimeoutMillis: STATEMENT_TIMEOUT_MILLIS })
  })
  afterEach(async () => {
    await context.admin('drop table t')
    await context.admin('drop table undone')
  })

  /** Statements that are not cancelled: writes, reads, a transaction. Long enough for a stray cancel request to hit. */
  const innocents = (on: Database, round: number): Promise<unknown>[] => {
    const id = round * 2
    const reads = `select count(*) from (${numbers(context.dialect, 1500)}) as s`
    return [
      on.execute('insert into t values (:id)', { id }),
      on.fetchVal(reads),
      on.transaction(async () => {
        await on.table('t').insert({ id: id + 1 })
        await on.fetchVal(reads)
      }),
    ]
  }

  /** A statement of the Database with the short timeout may exceed it by itself. */
  const ownTimeout = (error: unknown, startedAt: number): boolean =>
    error instanceof QueryTimeoutError &&
    error.message.includes('statement timeout') &&
    performance.now() - startedAt >= STATEMENT_TIMEOUT_MILLIS

  it(
    'runs the next statements after one on it was cancelled, in any way and at any moment',
    async () => {
      // A stream of thousands of rows may take its time where three hundred rounds make the machine busy.
      context.mayHoldLong()
      const combinations = Object.entries(WAYS).flatMap(([way, cancelling]) =>
        Object.entries(PLACES).map(([place, victim]) => ({ way, cancelling, place, victim })),
      )
      let expected = 0
      for (let round = 0; round < ROUNDS; round += 1) {
        const { way, cancelling, place, victim } = combinations[round % combinations.length] ?? {}
        if (way === undefined || cancelling === undefined || victim === undefined) throw new Error('no way')
        const on = way === 'by the statement timeout' ? shortTimeout : database
        const name = `round ${round}: ${place}, ${way}`
        // Every other statement may end while the cancel request is on its way.
        const sql = round % 2 === 0 ? slow : `select n from (${numbers(context.dialect, round * 20)}) as s`
        const calling = cancelling((round % 7) + 1)
        const cancelled = calling.start((options) => victim(on, sql, options))
        const outcome = cancelled.then(
          () => null,
          (error: unknown) => error,
        )
        for (let turn = 0; turn < round % 13; turn += 1) await new Promise(setImmediate)
        calling.cancel()
        // Half of the time the next statements wait already, else they are sent once the cancelled one has ended.
        if (round % 4 < 2) await outcome
        const startedAt = performance.now()
        for (const settled of await Promise.allSettled(innocents(on, round))) {
          if (settled.status === 'fulfilled' || ownTimeout(settled.reason, startedAt)) continue
          throw new Error(`${name}: an innocent statement failed`, { cause: settled.reason })
        }
        const error = await outcome
        if (!isExpectedEnd(error, sql === slow))
          throw new Error(`${name}: it ended unexpectedly`, { cause: error })
        expected += 2
        const { used, waiting, created } = on.stats()
        const undone = await on.fetchAll('select n from undone')
        const stays = { used: 0, waiting: 0, created: 1, undone: [] }
        expect({ name, used, waiting, created, undone }).toEqual({ name, ...stays })
      }
      const count = Number(await database.fetchVal('select count(*) from t'))
      expect(count).toBeLessThanOrEqual(expected)
      // Statements with the short timeout may have failed.
      expect(count).toBeGreaterThanOrEqual((expected * 4) / 5)
      const active = `select query from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle'`
      const isIdle = async (): Promise<boolean> => (await context.admin(active)).length === 0
      if (context.dialect === 'postgresql') await waitFor(isIdle, { what: 'an idle server' })
    },
    LONGEST_MILLIS,
  )
})

class Undone extends Error {}

/** A cancelled statement ends with a cancellation error or, unless it is endless, normally. */
function isExpectedEnd(error: unknown, isEndless: boolean): boolean {
  const isCancelled =
    error instanceof QueryCanceledError ||
    error instanceof QueryTimeoutError ||
    error instanceof TransactionClosedError
  if (isCancelled) return true
  if (error instanceof DatabaseError) return false
  return error instanceof Undone || (error === null && !isEndless)
}
