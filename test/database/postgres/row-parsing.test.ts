/** Rows that are parsed from PostgreSQL's bytes equal those of pg, however the bytes are split into packets. */
import { Socket } from 'node:net'
import pg from 'pg'
import { type Database, QueryError } from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { all, failure, numbers } from '../support'

/** A socket from which everything comes in pieces of a few bytes. */
function inPieces(size: number): Socket {
  const socket = new Socket()
  const push = socket.push.bind(socket)
  socket.push = (chunk: Buffer | null) => {
    if (chunk === null) return push(chunk)
    let goesOn = true
    for (let at = 0; at < chunk.length; at += size) goesOn = push(chunk.subarray(at, at + size))
    return goesOn
  }
  return socket
}

const QUERY = `
  SELECT n, -n AS negative, 2147483647 AS most, (-32768)::int2 AS least, n::bigint * 10000000000 AS big, n::oid AS oid,
    repeat('x', n) AS text, 'größe 💧 ' || n AS wide, '' AS empty, NULL::integer AS missing, NULL AS nothing,
    n % 2 = 0 AS even, n / 7.0 AS exact, n / 7.0::float8 AS rough, date '2026-01-31' + n AS day,
    timestamptz '2026-01-31 12:00:00Z' AS at, jsonb_build_object('n', n) AS document, ARRAY[n, n + 1] AS list,
    '\\x00ff'::bytea AS bytes, n AS twice, 'last' AS twice, 1 AS "__proto__", 2 AS "constructor", 3 AS "1", 4 AS "a ""b"" 'c'"
  FROM generate_series(0, 300) AS n`

eachDatabase('rows parsed from bytes', (context) => {
  const isSqlite = context.dialect === 'sqlite'
  const open = (size: number): Promise<Database> =>
    context.open({
      pool: { size: 1, maxOverflow: 0 },
      ...(!isSqlite && { knex: { connection: { stream: () => inPieces(size) } } }),
    })

  it('are complete when one of them is larger than a packet', async () => {
    const database = await open(1000)
    const large = isSqlite ? "replace(hex(zeroblob(1500000)), '0', 'ä')" : "repeat('ä', 3000000)"
    const query = `SELECT ${large} || n AS text FROM (${numbers(context.dialect, 3)}) AS s`
    const rows = await all(database.iterate<{ text: string }>(query))
    expect(rows.map(({ text }) => [text.length, text.slice(-2)])).toEqual([
      [3_000_001, 'ä1'],
      [3_000_001, 'ä2'],
      [3_000_001, 'ä3'],
    ])
  })

  if (isSqlite) return

  /** By pg, with our meaning of a date. */
  const expected = async (): Promise<object[]> => {
    const client = new pg.Client(context.url)
    client.setTypeParser(pg.types.builtins.DATE, (text) => text)
    await client.connect()
    const { rows } = await client.query<object>(QUERY)
    await client.end()
    return rows
  }

  it.each([1, 2, 3, 7, 64, 1000, 65_536])('are the same when packets have %i bytes', async (size) => {
    const database = await open(size)
    const rows = await expected()
    for (const batchSize of [1, 100, 1000]) {
      expect(await all(database.iterate(QUERY, {}, { batchSize }))).toEqual(rows)
    }
    expect(await database.fetchAll(QUERY)).toEqual(rows)
    expect(await database.fetchVal(QUERY, {}, { column: 19 })).toBe(0)
  })

  it('are followed by notices and notifications', async () => {
    const database = await open(5)
    await using connection = await database.acquire()
    const raw = connection.raw as pg.Client
    const heard: string[] = []
    raw.on('notification', ({ payload }) => heard.push(payload ?? ''))
    raw.on('notice', ({ message }) => heard.push(message ?? ''))
    await connection.execute('LISTEN pond')
    await connection.execute(
      "CREATE FUNCTION pg_temp.noted(n integer) RETURNS integer LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''row %'', n; RETURN n; END'",
    )
    const query =
      "SELECT pg_temp.noted(n) AS n, pg_notify('pond', n::text) AS x FROM generate_series(1, 3) AS n"
    expect(await all(connection.iterate(query))).toEqual([1, 2, 3].map((n) => ({ n, x: '' })))
    await connection.execute("SELECT pg_notify('pond', 'last')")
    expect(heard).toEqual(expect.arrayContaining(['row 1', 'row 2', 'row 3', '1', '2', '3', 'last']))
  })

  it("end with the server's error, and the connection can be used again", async () => {
    const database = await open(3)
    let seen = 0
    const loop = (async () => {
      for await (const _ of database.iterate(
        'SELECT 1 / (250 - n) FROM generate_series(1, 300) AS n',
        {},
        { batchSize: 100 },
      ))
        seen += 1
    })()
    expect(await failure(loop)).toBeInstanceOf(QueryError)
    expect(seen).toBe(200)
    expect(await database.fetchVal('SELECT 1')).toBe(1)
  })

  it('are converted by type parsers that are set on the connection', async () => {
    const database = await open(1000)
    await using connection = await database.acquire()
    const raw = connection.raw as pg.Client
    raw.setTypeParser(pg.types.builtins.INT4, (text) => BigInt(text))
    const rows = await all(connection.iterate('SELECT n, n::int2 AS small FROM generate_series(1, 2) AS n'))
    expect(rows).toEqual([
      { n: 1n, small: 1 },
      { n: 2n, small: 2 },
    ])
    raw.setTypeParser(pg.types.builtins.INT4, () => {
      throw new Error('not that one')
    })
    const error = await failure(all(connection.iterate('SELECT 1 AS n')))
    expect(error.message).toMatch(/Column 'n', of type int4,/)
    expect(error.cause).toMatchObject({ message: 'not that one' })
  })

  it('are converted by the parser of integers where it is set for other types', async () => {
    await using connection = await (await open(65_536)).acquire()
    const raw = connection.raw as pg.Client
    for (const type of [pg.types.builtins.NUMERIC, pg.types.builtins.INT8])
      raw.setTypeParser(type, pg.types.getTypeParser(pg.types.builtins.INT4))
    const row = await connection.fetchOne(
      "SELECT 12.50 AS n, 'NaN'::numeric AS none, 9223372036854775807 AS big",
    )
    expect(row).toEqual({ n: 12, none: Number.NaN, big: 2 ** 63 })
  })
})
