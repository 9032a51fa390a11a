/**
 * Many concurrent requests on few connections: transactions, savepoints, builders, streams that are left early or read
 * slowly, aborts. No statement runs in the transaction of another request, and no row reaches another request.
 *
 * MILLPOND_STATEMENTS=n sets how many statements there are.
 */
import { once } from 'node:events'
import { rounds } from '../../support/rounds'
import { type Database, DatabaseError, type Queryable } from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { waitFor } from '../../support/wait-for'

const STATEMENTS = rounds(10_000, 100_000, 'MILLPOND_STATEMENTS')
const REQUESTS_AT_ONCE = 24
const LONGEST_MILLIS = 60_000 + STATEMENTS * 3

/** What each statement returns: its request, its connection and its transaction. */
interface Ran {
  readonly request: number
  readonly pid: number
  readonly txid: string
}

const WHERE = 'pg_backend_pid() as pid, txid_current()::text as txid'
const READ = `select :request::int as request, ${WHERE}`
const WRITE = `insert into log (request, step) values (:request, :step) returning request, ${WHERE}`
const STREAM = `select :request::int as request, n, ${WHERE} from generate_series(1, 60) as n`

/** Records which request ran in which transaction of the server, and where two met in one. */
class Witness {
  statements = 0
  readonly crossings: string[] = []
  readonly #owners = new Map<string, number>()
  readonly #places = new Map<number, string>()

  /** @param owner a number for each transaction, and for each statement that is one of its own */
  saw(rows: readonly Ran[], owner: number, request: number): void {
    this.statements += 1
    for (const row of rows) {
      if (row.request !== request) this.crossings.push(`request ${request} got a row of ${row.request}`)
      const at = `${row.txid} on ${row.pid}`
      const known = this.#owners.get(at) ?? owner
      const usual = this.#places.get(owner) ?? at
      if (known !== owner) this.crossings.push(`${owner} ran in ${at}, which is ${known}'s`)
      if (usual !== at) this.crossings.push(`${owner} ran in ${at}, but belongs in ${usual}`)
      this.#owners.set(at, owner)
      this.#places.set(owner, at)
    }
  }
}

eachDatabase('concurrent requests', (context) => {
  if (context.dialect === 'sqlite') {
    it('read only their own rows, and store all of them or none', async () => {
      const database = await context.open({ pool: { size: 3, maxOverflow: 0 } })
      await database.execute('create table log (request integer, step integer)')
      const strangers: unknown[] = []
      const request = async (id: number): Promise<void> => {
        for (let step = 0; step < 4; step += 1) {
          await database.table('log').insert({ request: id, step })
          const mine = await database.fetchAll('select * from log where request = :id', { id })
          if (mine.length !== step + 1) strangers.push({ id, step, mine })
        }
        if (id % 3 === 0) throw new Undone()
      }
      const ids = Array.from({ length: 150 }, (_, id) => id)
      await Promise.allSettled(ids.map((id) => database.transaction(() => request(id))))
      const counts = await database.fetchAll('select request, count(*) as n from log group by request')
      expect(counts).toHaveLength(100)
      expect([strangers, counts.filter(({ n }) => n !== 4)]).toEqual([[], []])
    })
    return
  }

  let database: Database
  let witness: Witness
  let owners = 0
  const kept = new Map<number, number>()

  beforeEach(async () => {
    witness = new Witness()
    kept.clear()
    database = await context.open({ pool: { size: 4, maxOverflow: 0 } })
    await database.execute('create table log (request integer, step integer)')
  })
  afterEach(async () => {
    await context.admin('drop table log')
  })

  const builder = (request: number): ReturnType<typeof database.knex.select> =>
    database.knex
      .select(database.knex.raw(`?::int as request, n, ${WHERE}`, [request]))
      .from(database.knex.raw('generate_series(1, 60) as n'))

  /** One statement outside of a transaction: by the library, or by Knex. */
  const single = async (request: number, random: Random, signal?: AbortSignal): Promise<void> => {
    const owner = (owners += 1)
    const options = signal === undefined ? {} : { signal }
    if (random(2) === 0) witness.saw(await database.fetchAll<Ran>(READ, { request }, options), owner, request)
    else witness.saw(await builder(request).limit(2), owner, request)
  }

  /** A stream, of the library or of Knex: read to the end, left early, read slowly, or destroyed. */
  const stream = async (request: number, random: Random, owner: number): Promise<void> => {
    const leavesAt = random(3) === 0 ? 1000 : random(60)
    const isSlow = random(3) === 0
    const rows =
      random(2) === 0
        ? database.iterate<Ran & { n: number }>(STREAM, { request }, { batchSize: 1 + random(40) })
        : (builder(request).stream() as AsyncIterable<Ran & { n: number }>)
    const seen: Ran[] = []
    for await (const row of rows) {
      seen.push(row)
      if (isSlow && seen.length % 20 === 0) await new Promise(setImmediate)
      if (row.n >= leavesAt) break
    }
    witness.saw(seen, owner, request)
  }

  /** A stream of Knex's that is piped and then destroyed half-way, as when a client goes away. */
  const destroyed = async (request: number, random: Random): Promise<void> => {
    const owner = (owners += 1)
    const seen: Ran[] = []
    const readable = builder(request).stream()
    readable.on('error', () => undefined)
    const stopAt = random(60)
    readable.on('data', (row: Ran) => {
      seen.push(row)
      if (seen.length === stopAt) readable.destroy()
    })
    if (stopAt === 0) readable.destroy()
    if (!readable.closed) await once(readable, 'close')
    witness.saw(seen, owner, request)
  }

  /** A transaction with savepoints, statements of all sorts and a stream; every third one is rolled back. */
  const transaction = async (request: number, random: Random, signal?: AbortSignal): Promise<void> => {
    const owner = (owners += 1)
    let written = 0
    const write = async (on: Queryable): Promise<void> => {
      witness.saw(await on.fetchAll<Ran>(WRITE, { request, step: written }), owner, request)
      written += 1
    }
    const options = signal === undefined ? {} : { signal }
    await database.transaction(async (tx) => {
      for (let step = 0; step < 2 + random(4); step += 1) {
        const kind = random(6)
        if (kind === 0) await stream(request, random, owner)
        else if (kind === 1) witness.saw(await builder(request).limit(3), owner, request)
        else if (kind === 2) await Promise.all([write(tx), write(database), read(request, owner)])
        else if (kind === 3) await undone(request, owner, tx)
        else if (kind === 4) await tx.transaction((inner) => write(inner))
        else await write(database)
      }
      if (random(3) === 0) throw new Undone()
    }, options)
    kept.set(request, written)
  }

  const read = async (request: number, owner: number): Promise<void> => {
    witness.saw(await database.fetchAll<Ran>(READ, { request }), owner, request)
  }

  const undone = async (request: number, owner: number, tx: Queryable): Promise<void> => {
    const inner = tx.transaction(async () => {
      witness.saw(await database.fetchAll<Ran>(WRITE, { request, step: -1 }), owner, request)
      throw new Undone()
    })
    await inner.catch((error: unknown) => {
      if (!(error instanceof Undone)) throw error
    })
  }

  /** One request, which may be aborted while it runs. */
  const serve = async (request: number, random: Random): Promise<void> => {
    const controller = random(5) === 0 ? new AbortController() : undefined
    const kind = random(6)
    const work =
      kind < 3
        ? transaction(request, random, controller?.signal)
        : kind === 3
          ? single(request, random, controller?.signal)
          : kind === 4
            ? stream(request, random, (owners += 1))
            : destroyed(request, random)
    const settled = work.catch((error: unknown) => {
      if (!(error instanceof Undone || error instanceof DatabaseError)) throw error
      if (error instanceof DatabaseError && controller === undefined) throw error
    })
    if (controller !== undefined) {
      for (let turn = 0; turn < random(12); turn += 1) await new Promise(setImmediate)
      controller.abort()
    }
    await settled
  }

  it(
    "never run a statement in another request's transaction, and never read its rows",
    async () => {
      const seed = Math.floor(Math.random() * 2 ** 31)
      let requests = 0
      const worker = async (): Promise<void> => {
        while (witness.statements < STATEMENTS) {
          const request = (requests += 1)
          await serve(request, randomFrom(seed + request))
        }
      }
      await Promise.all(Array.from({ length: REQUESTS_AT_ONCE }, worker))
      await waitFor(() => database.stats().used === 0)
      const counts = await database.fetchAll<{ request: number; n: string }>(
        'select request, count(*) as n from log group by request',
      )
      const left = new Map(counts.map(({ request, n }) => [request, Number(n)]))
      for (const [request, written] of kept) if (written === 0) kept.delete(request)
      expect({ seed, crossings: witness.crossings.slice(0, 10) }).toEqual({ seed, crossings: [] })
      expect(left).toEqual(kept)
      expect(witness.statements).toBeGreaterThanOrEqual(STATEMENTS)
    },
    LONGEST_MILLIS,
  )
})

class Undone extends Error {}

type Random = (below: number) => number

/** A small generator with a seed, so that a run can be repeated: https://en.wikipedia.org/wiki/Xorshift */
function randomFrom(seed: number): Random {
  let state = seed || 1
  return (below) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return Math.abs(state) % below
  }
}
