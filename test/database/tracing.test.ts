/** The spans of a Database, as an OpenTelemetry SDK receives them. */
import { SpanKind, SpanStatusCode } from '@opentelemetry/api'
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base'
import {
  ConfigurationError,
  type Database,
  type DatabaseOptions,
  SerializationError,
  traceQueries,
} from '../../src/database'
import { COMMIT } from '../support/commits'
import { eachDatabase } from '../support/each-database'
import { outlineOf, Spans } from '../support/spans'
import { startProxy, type TcpProxy } from '../support/tcp-proxy'
import { waitFor } from '../support/wait-for'
import { failure } from './support'

eachDatabase('traces', (context) => {
  const spans = new Spans()
  const id = context.dialect === 'sqlite' ? 'integer primary key' : 'serial primary key'

  /** Opens a Database that has made an empty table, and so has a connection that nobody waits for. */
  async function openTraced(options?: DatabaseOptions, url?: string): Promise<Database> {
    const database = await context.open(options, url)
    await database.execute('drop table if exists posts')
    await database.execute(`create table posts (id ${id}, title text not null unique)`)
    traceQueries(database, { tracerProvider: spans.provider })
    return database
  }

  const insert = (database: Pick<Database, 'execute'>, title: string): Promise<unknown> =>
    database.execute('insert into posts (title) values (:title)', { title })

  it('have a span for each statement, by the conventions, under the span that is active', async () => {
    const database = await openTraced()
    await insert(database, 'hunter2')
    spans.take()
    const { hostname, port, database: namespace } = database.url
    await spans.within('GET /posts', () =>
      database.fetchAll("select * from posts where title = :title and title <> 'literal'", {
        title: 'hunter2',
      }),
    )
    const [request, span] = spans.take() as [ReadableSpan, ReadableSpan]
    expect(span).toMatchObject({
      name: 'SELECT posts',
      kind: SpanKind.CLIENT,
      status: { code: SpanStatusCode.UNSET },
      parentSpanContext: { spanId: request.spanContext().spanId },
    })
    expect(span.attributes).toEqual({
      'db.system.name': context.dialect,
      'db.namespace': namespace,
      ...(hostname !== null && { 'server.address': hostname }),
      ...(port !== null && { 'server.port': port }),
      'db.operation.name': 'SELECT',
      'db.query.summary': 'SELECT posts',
      'db.query.text': 'select * from posts where title = ? and title <> ?',
      'db.response.returned_rows': 1,
    })
  })

  it('have a span for each transaction, with its statements and what else its work does', async () => {
    const database = await openTraced()
    await spans.within('request', () =>
      database.transaction(async (tx) => {
        await insert(tx, 'one')
        await spans.within('another service', () => insert(database, 'two'))
        await database.transaction((inner) => insert(inner, 'three'))
      }),
    )
    const all = spans.take()
    expect(outlineOf(all)).toEqual([
      'request',
      '  transaction',
      '    BEGIN',
      '    INSERT posts',
      '    another service',
      '      INSERT posts',
      '    SAVEPOINT',
      '    INSERT posts',
      '    RELEASE',
      '    COMMIT',
    ])
    expect(named(all, 'transaction')).toMatchObject({
      kind: SpanKind.INTERNAL,
      attributes: { 'db.system.name': context.dialect, 'millpond.transaction.end': 'committed' },
    })
  })

  it('tell why a transaction was rolled back', async () => {
    const database = await openTraced()
    class OutOfStock extends RangeError {
      override readonly name = 'OutOfStock'
    }
    await failure(
      database.transaction(async (tx) => {
        await insert(tx, 'one')
        throw new OutOfStock('hunter2')
      }),
    )
    const all = spans.take()
    expect(outlineOf(all)).toEqual(['transaction', '  BEGIN', '  INSERT posts', '  ROLLBACK'])
    expect(named(all, 'transaction')).toMatchObject({
      status: { code: SpanStatusCode.ERROR },
      attributes: { 'millpond.transaction.end': 'rolled back', 'error.type': 'OutOfStock' },
    })
    expect(textOf(all)).not.toContain('hunter2')
    await database.transaction((tx) => insert(tx, 'one'), { forceRollback: true })
    expect(named(spans.take(), 'transaction')).toMatchObject({
      status: { code: SpanStatusCode.UNSET },
      attributes: { 'millpond.transaction.end': 'rolled back' },
    })
  })

  it('put the statements of a transaction that was begun by a handle under it', async () => {
    const database = await openTraced()
    await spans.within('request', async () => {
      const tx = await database.begin()
      await insert(tx, 'one')
      await spans.within('another service', () => insert(tx, 'two'))
      await tx.commit()
      await database.fetchAll('select * from posts')
    })
    expect(spans.outline()).toEqual([
      'request',
      '  transaction',
      '    BEGIN',
      '    INSERT posts',
      '    COMMIT',
      '  another service',
      '    INSERT posts',
      '  SELECT posts',
    ])
  })

  it('have the transaction of a request from its first statement on, under the request', async () => {
    const database = await openTraced()
    await spans.within('request', () =>
      database.transactionOnDemand(async () => {
        await spans.within('body', () => Promise.resolve())
        await insert(database, 'one')
        await database.fetchAll('select * from posts')
      }),
    )
    expect(spans.outline()).toEqual([
      'request',
      '  body',
      '  transaction',
      '    BEGIN',
      '    INSERT posts',
      '    SELECT posts',
      '    COMMIT',
    ])
  })

  it('end the span of a transaction that its connection is given back with', async () => {
    const database = await openTraced()
    const connection = await database.acquire()
    await connection.begin()
    await connection.release()
    expect(named(spans.take(), 'transaction').attributes).toMatchObject({
      'millpond.transaction.end': 'rolled back',
    })
  })

  it('have a span for a wait for a connection, and none where nobody waits', async () => {
    const database = await openTraced({ pool: { size: 1, maxOverflow: 0, acquireTimeoutMillis: 50 } })
    const held = await database.acquire()
    const waiting = spans.within('request', () => database.fetchVal('select 1'))
    await waitFor(() => database.stats().waiting === 1)
    const since = performance.now()
    // What is shorter is no wait.
    await waitFor(() => performance.now() - since > 1)
    await held.release()
    await waiting
    expect(spans.outline()).toEqual(['request', '  wait for connection', '  SELECT'])

    await using _held = await database.acquire()
    await failure(database.fetchVal("select 'hunter2'"))
    const all = spans.take()
    expect(outlineOf(all)).toEqual(['wait for connection'])
    expect(all[0]).toMatchObject({
      status: { code: SpanStatusCode.ERROR },
      attributes: { 'db.client.connection.pool.name': database.name, 'error.type': 'POOL_TIMEOUT' },
      events: [{ name: 'exception', attributes: { 'exception.type': 'PoolTimeoutError' } }],
    })
  })

  it('have one span for a stream, however it ends', async () => {
    const database = await openTraced()
    await database.executeMany(database.table('posts'), [{ title: 'a' }, { title: 'b' }, { title: 'c' }])
    expect(spans.outline()).toEqual(['transaction', '  BEGIN', '  INSERT posts', '  COMMIT'])
    const rowsOf = (span: ReadableSpan): unknown => span.attributes['db.response.returned_rows']

    await spans.within('request', async () => {
      const titles: unknown[] = []
      for await (const { title } of database.iterate('select * from posts', {}, { batchSize: 1 }))
        titles.push(title)
      expect(titles).toHaveLength(3)
    })
    const read = spans.take()
    expect(outlineOf(read).filter((line) => !line.includes('wait for'))).toEqual([
      'request',
      '  SELECT posts',
    ])
    expect(rowsOf(named(read, 'SELECT posts'))).toBe(3)

    for await (const _row of database.iterate('select * from posts', {}, { batchSize: 2 })) break
    expect(rowsOf(named(spans.take(), 'SELECT posts'))).toBe(2)

    const aborting = new AbortController()
    await failure(
      (async () => {
        for await (const _row of database.iterate(
          'select * from posts',
          {},
          { batchSize: 1, signal: aborting.signal },
        ))
          aborting.abort()
      })(),
    )
    expect(named(spans.take(), 'SELECT posts').attributes).toMatchObject({ 'error.type': 'QUERY_CANCELED' })
  })

  it('have the spans of Knex builders, of its streams, and of its transactions', async () => {
    const database = await openTraced()
    await spans.within('request', async () => {
      await database.knex('posts').insert({ title: 'hunter2' })
      await database.knex('posts').where({ title: 'hunter2' })
      await database.knex.transaction(async (trx) => {
        await trx('posts').where({ title: 'hunter2' }).delete()
      })
    })
    const all = spans.take()
    expect(outlineOf(all).filter((line) => !line.includes('wait for'))).toEqual([
      'request',
      '  INSERT posts',
      '  SELECT posts',
      '  transaction',
      '    BEGIN',
      '    DELETE posts',
      '    COMMIT',
    ])
    expect(textOf(all)).not.toContain('hunter2')
    for await (const _row of database.knex('posts').select('*').stream()) continue
    expect(spans.outline().filter((line) => !line.includes('wait for'))).toEqual(['SELECT posts'])
  })

  it('have a transaction for each time that its work is run', async () => {
    const database = await openTraced()
    let runs = 0
    await database.transaction(
      async (tx) => {
        await insert(tx, 'one')
        runs += 1
        if (runs === 1) throw new SerializationError('not this time', '')
      },
      { retries: 1 },
    )
    const ends = spans.take().filter(({ name }) => name === 'transaction')
    expect(ends.map(({ attributes }) => attributes['millpond.transaction.end'])).toEqual([
      'rolled back',
      'committed',
    ])
  })

  it('record an error with its codes, and show no value of any kind', async () => {
    const database = await openTraced({}, withPassword(context.url, 'hunter2'))
    await insert(database, 'hunter2')
    spans.take()
    await failure(insert(database, 'hunter2'))
    await failure(database.fetchAll("select 'hunter2', 4711 frm posts"))
    await failure(database.execute('insert into posts (id, title) values (:id, null)', { id: 4711 }))
    // Both databases quote it in their message.
    await failure(database.execute("delete 'hunter2'"))
    const all = spans.take()
    expect(all).toHaveLength(4)
    expect(all[0]).toMatchObject({
      status: { code: SpanStatusCode.ERROR },
      attributes: {
        'error.type': 'UNIQUE_VIOLATION',
        'db.response.status_code': expect.stringMatching(
          context.dialect === 'sqlite' ? /^SQLITE_/ : /^23505$/,
        ),
      },
      events: [
        {
          name: 'exception',
          attributes: {
            'exception.type': 'UniqueViolationError',
            'exception.stacktrace': expect.stringContaining('tracing.test'),
          },
        },
      ],
    })
    expect(textOf(all)).not.toMatch(/hunter2|4711/)
  })

  it('have the spans of what a listener of an event runs', async () => {
    const database = await openTraced()
    let audited: Promise<unknown> | undefined
    database.on('query', () => {
      audited ??= database.fetchVal('select 2')
    })
    await spans.within('request', () => database.fetchVal('select 1 from posts'))
    await audited
    expect(spans.outline().filter((line) => line.endsWith('SELECT'))).toHaveLength(1)
  })

  it('end when they are stopped, and take no other options', async () => {
    const database = await context.open()
    const stop = traceQueries(database, { tracerProvider: spans.provider })
    await database.fetchVal('select 1')
    stop()
    await database.fetchVal('select 1')
    expect(spans.outline()).toEqual(['SELECT'])
    expect(() => traceQueries(database, { provider: spans.provider } as never)).toThrow(ConfigurationError)
  })

  if (context.dialect === 'sqlite') return

  let proxy: TcpProxy
  beforeEach(async () => {
    proxy = await startProxy(context.url)
  })
  afterEach(() => proxy.close())

  it('do not say how a transaction ended whose connection was lost at its COMMIT', async () => {
    const database = await openTraced({ pool: { size: 1, maxOverflow: 0 } }, proxy.url)
    const sprung = proxy.trap(COMMIT, { answered: 0 })
    await Promise.all([database.transaction((tx) => insert(tx, 'one')), sprung])
    const all = spans.take()
    expect(named(all, 'transaction').attributes['millpond.transaction.end']).toBe('unknown')
    expect(named(all, 'COMMIT').attributes['error.type']).toBe('CONNECTION_FAILED')
    expect(await database.fetchVal('select title from posts')).toBe('one')
  })
})

/** Returns the URL with a password, which the server for the tests does not ask for. A file has none. */
function withPassword(text: string, password: string): string {
  const url = new URL(text)
  url.password = password
  return url.href
}

function named(spans: readonly ReadableSpan[], name: string): ReadableSpan {
  const span = spans.find((one) => one.name === name)
  if (span === undefined) throw new Error(`There is no span '${name}'.`)
  return span
}

/** Everything that leaves the process of these spans. */
function textOf(spans: readonly ReadableSpan[]): string {
  return JSON.stringify(
    spans.map(({ name, attributes, status, events }) => ({ name, attributes, status, events })),
  )
}
