/** stream() of Knex builders: events and ends as in Knex itself, and no lost connection. */
import { once } from 'node:events'
import { PassThrough, type Readable } from 'node:stream'
import { finished } from 'node:stream/promises'
import type { Knex } from 'knex'
import { type Database, QueryTimeoutError } from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { waitFor } from '../../support/wait-for'
import { all, arrived, endless, failure, numbers } from '../support'

eachDatabase('a stream of a Knex builder', (context) => {
  let database: Database
  let knex: Knex
  const rows = (count: number): Knex.Raw => knex.raw(numbers(context.dialect, count))
  const free = (): Promise<unknown> =>
    waitFor(() => database.stats().used === 0, { what: 'the connection to be released' })

  beforeEach(async () => {
    database = await context.open({ pool: { size: 2, maxOverflow: 0 } })
    knex = database.knex
  })

  it('emits finish and then end', async () => {
    const told: string[] = []
    const stream = rows(3).stream()
    for (const event of ['finish', 'end', 'close']) stream.on(event, () => told.push(event))
    stream.on('data', ({ n }: { n: number }) => told.push(String(n)))
    await finished(stream)
    await waitFor(() => told.length === 6)
    expect(told.slice(0, 3)).toEqual(['1', '2', '3'])
    expect(told.slice(3).toSorted()).toEqual(['close', 'end', 'finish'])
    expect(database.stats().used).toBe(0)
  })

  it('begins before it is read', async () => {
    const events: string[] = []
    knex.on('query', ({ sql }: { sql: string }) => events.push(sql))
    const stream = rows(2).stream()
    await waitFor(() => events.length === 1, { what: 'the query to be sent' })
    expect(await all(stream)).toEqual([{ n: 1 }, { n: 2 }])
    expect(events).toEqual([expect.stringContaining('select') as unknown])
  })

  it('emits an error of the database or of Knex as an error event', async () => {
    const builders: [Knex.Raw | Knex.QueryBuilder, RegExp][] = [
      [knex('nowhere'), /nowhere/],
      [knex('nowhere').whereRaw('a = ? and a = ?', [1]), /Expected 1 bindings/],
    ]
    for (const [builder, message] of builders) {
      const [error] = (await once(builder.stream(), 'error').catch((cause: unknown) => [cause])) as [Error]
      expect(error.message).toMatch(message)
      await expect(all(builder.stream())).rejects.toThrow(message)
    }
    const [error] = (await once(knex('nowhere').stream(), 'close').catch((cause: unknown) => [cause])) as [
      object,
    ]
    expect(error).toMatchObject({ code: context.dialect === 'sqlite' ? 'SQLITE_ERROR' : '42P01' })
    await free()
  })

  it('fails when no connection becomes free', async () => {
    const full = await context.open({ pool: { size: 1, maxOverflow: 0, acquireTimeoutMillis: 100 } })
    const held = await full.acquire()
    await expect(all(full.knex.raw('select 1').stream())).rejects.toThrow(/became free/)
    await held.release()
    expect(full.stats()).toMatchObject({ used: 0, waiting: 0 })
  })

  it("settles the handler's promise when the rows are read, and when the query fails", async () => {
    const seen: unknown[] = []
    await rows(2).stream((stream: Readable) => stream.on('data', (row) => seen.push(row)))
    expect(seen).toEqual([{ n: 1 }, { n: 2 }])
    await expect(knex('nowhere').stream(() => undefined)).rejects.toThrow(/nowhere/)
    await expect(knex('nowhere').stream((stream) => stream.resume())).rejects.toThrow(/nowhere/)
    await rows(100_000).stream((stream: Readable) => stream.once('data', () => stream.destroy()))
    await free()
  })

  it('does not fetch rows ahead of its reader', async () => {
    const stream = rows(100_000).stream({ highWaterMark: 1 })
    for await (const row of stream) {
      expect(row).toEqual({ n: 1 })
      break
    }
    await free()
    const piped = rows(3).pipe(new PassThrough({ objectMode: true }))
    expect(await all(piped as unknown as AsyncIterable<unknown>)).toHaveLength(3)
  })

  it('releases its connection when it is destroyed, while it waits for a row or for the connection', async () => {
    const slow = knex.raw(endless(context.dialect)).stream()
    await arrived(context, database)
    slow.destroy()
    await free()
    const held = [await database.acquire(), await database.acquire()]
    const waiting = rows(1).stream()
    await waitFor(() => database.stats().waiting === 1)
    waiting.destroy()
    await waitFor(() => database.stats().waiting === 0)
    for (const connection of held) await connection.release()
    expect(await database.fetchVal('select 1')).toBe(1)
  })

  it('fails at the statement timeout', async () => {
    const impatient = await context.open({ statementTimeoutMillis: 100 })
    const slow = impatient.knex.raw(endless(context.dialect)).stream()
    expect(await failure(all(slow))).toBeInstanceOf(QueryTimeoutError)
    await waitFor(() => impatient.stats().used === 0)
  })

  it('lets its reader run other queries, inside a transaction too', async () => {
    await database.transaction(async () => {
      let sum = 0
      for await (const row of rows(500).stream()) {
        const { n } = row as { n: number }
        if (n % 100 === 0) sum += (await database.fetchVal<number>('select 1')) ?? 0
      }
      expect(sum).toBe(5)
    })
  })

  it('ends with its transaction', async () => {
    let left: Readable | undefined
    await database.transaction(async () => {
      left = rows(20_000).stream()
      await once(left, 'readable')
    })
    await expect(all(left as Readable)).rejects.toThrow(/ended/)
    await free()
  })
})

eachDatabase('postProcessResponse', (context) => {
  const camel = (row: object): object =>
    Object.fromEntries(
      Object.entries(row).map(([name, value]) => [
        name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase()),
        value as unknown,
      ]),
    )
  const isRow = (value: unknown): value is object => typeof value === 'object' && value !== null
  const contexts: unknown[] = []
  const options = {
    knex: {
      wrapIdentifier: (name: string, wrap: (name: string) => string) =>
        wrap(name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)),
      postProcessResponse(response: unknown, queryContext: unknown): unknown {
        contexts.push(queryContext)
        if (Array.isArray(response)) return response.map((row: unknown) => (isRow(row) ? camel(row) : row))
        return isRow(response) ? camel(response) : response
      },
    },
  }

  it('is applied by every method that returns rows of a builder', async () => {
    const database = await context.open(options)
    const people = (): Knex.QueryBuilder => database.table('people').queryContext('ours')
    await database.knex.schema.createTable('people', (table) => table.string('firstName'))
    const ada = { firstName: 'ada' }
    await database.executeMany(database.table('people'), [{ first_name: 'ada' }])
    contexts.length = 0
    expect(await people()).toEqual([ada])
    expect(await all(people().stream())).toEqual([ada])
    expect(await database.fetchAll(people())).toEqual([ada])
    expect(await database.fetchOne(people())).toEqual(ada)
    expect(await database.fetchOne(people().where({ firstName: 'bob' }))).toBeNull()
    expect(await database.fetchVal(people(), {}, { column: 'firstName' })).toBe('ada')
    expect(await database.fetchVal(people())).toBe('ada')
    expect(await all(database.iterate(people()))).toEqual([ada])
    await database.transaction(async (tx) => {
      expect(await tx.fetchAll(people())).toEqual([ada])
      expect(
        await database.knex.transaction(async (trx) => all(trx('people').queryContext('ours').stream())),
      ).toEqual([ada])
    })
    expect(new Set(contexts)).toEqual(new Set(['ours']))
    expect(await database.fetchAll('select * from people')).toEqual([{ first_name: 'ada' }])
    await database.knex.schema.dropTable('people')
  })

  it('may throw, which rejects the call with its error', async () => {
    const database = await context.open({
      knex: {
        postProcessResponse: () => {
          throw new RangeError('of the program')
        },
      },
    })
    const one = (): Knex.QueryBuilder => database.knex.select(database.knex.raw('1 as one'))
    for (const run of [
      async () => one(),
      () => all(one().stream()),
      () => database.fetchAll(one()),
      () => database.fetchOne(one()),
      () => all(database.iterate(one())),
    ])
      expect(await failure(run() as Promise<unknown>)).toBeInstanceOf(RangeError)
    await waitFor(() => database.stats().used === 0)
  })
})
