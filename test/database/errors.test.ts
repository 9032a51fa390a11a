/** The classes of errors, their properties, and what they never show: bound values and passwords. */
import { inspect } from 'node:util'
import {
  CheckViolationError,
  ConnectionError,
  ConstraintViolationError,
  type Database,
  DatabaseError,
  ForeignKeyViolationError,
  NotNullViolationError,
  QueryError,
  QueryTimeoutError,
  SerializationError,
  UniqueViolationError,
} from '../../src/database'
import { failure } from './support'
import { eachDatabase } from '../support/each-database'

const SECRET = 'secret-4711'

eachDatabase('an error', (context) => {
  const isPostgres = context.dialect === 'postgresql'
  const isSqlite = !isPostgres
  let database: Database

  beforeEach(async () => {
    database = await context.open()
    for (const sql of [
      'create table if not exists authors (id integer primary key, tenant integer, email text not null, constraint one_each unique (tenant, email))',
      'create table if not exists posts (id integer primary key, author integer references authors (id), title text, constraint titled check (length(title) > 2))',
      `insert into authors values (1, 7, '${SECRET}') on conflict do nothing`,
      'insert into posts values (1, 1, null) on conflict do nothing',
    ]) {
      await database.execute(sql)
    }
  })
  const violation = async (
    sql: string,
    values: Record<string, unknown>,
  ): Promise<ConstraintViolationError> => {
    const error = await failure(database.execute(sql, values))
    if (!(error instanceof ConstraintViolationError)) throw error
    expect(error).toMatchObject({ sql: expect.stringContaining('into') as unknown, retryable: false })
    return error
  }

  it('of a unique violation has the table and the columns of the key', async () => {
    const error = await violation('insert into authors values (2, 7, :email)', { email: SECRET })
    expect(error).toBeInstanceOf(UniqueViolationError)
    expect(error).toMatchObject({ code: 'UNIQUE_VIOLATION', table: 'authors', columns: ['tenant', 'email'] })
    expect(error.constraint).toBe(isPostgres ? 'one_each' : null)
    expect(error.message).not.toContain(SECRET)
  })

  if (isPostgres) {
    const raised = (code: string, message: string, detail: string): Promise<Error> =>
      failure(
        database.execute(
          `do $$ begin raise '${message}' using errcode = '${code}', detail = '${detail}'; end $$`,
        ),
      )

    it("has the same class and columns when the server's messages are in another language", async () => {
      const detail = 'Schlüssel »(lower(email), tenant)=(x)=(y, 7)« existiert bereits.'
      const unique = await raised('23505', 'doppelter Schlüsselwert', detail)
      expect(unique).toBeInstanceOf(UniqueViolationError)
      expect(unique).toMatchObject({ columns: ['lower(email)', 'tenant'] })
      const french = 'La clé « (author)=(4711) » n’est pas présente dans la table « authors ».'
      expect(await raised('23503', 'une instruction viole la contrainte', french)).toMatchObject({
        columns: ['author'],
      })
      const late = await raised('57014', 'storniere Anfrage wegen Zeitüberschreitung der Anfrage', '')
      expect(late).toBeInstanceOf(QueryTimeoutError)
    })
  }

  it('of a taken primary key has its column', async () => {
    const error = await violation('insert into authors values (:id, 8, :email)', { id: 1, email: 'x' })
    expect(error).toBeInstanceOf(UniqueViolationError)
    expect(error).toMatchObject({ table: 'authors', columns: ['id'] })
  })

  it('of an insert that refers to a missing row is a ForeignKeyViolationError', async () => {
    const error = await violation("insert into posts values (2, :author, 'long')", { author: 4711 })
    expect(error).toBeInstanceOf(ForeignKeyViolationError)
    expect(error.code).toBe('FOREIGN_KEY_VIOLATION')
    expect(error).toMatchObject(
      isPostgres
        ? { constraint: 'posts_author_fkey', table: 'posts', columns: ['author'] }
        : { constraint: null, table: null, columns: [] },
    )
    expect(error.message).not.toContain('4711')
  })

  it('of a delete of a row that is referred to is a ForeignKeyViolationError', async () => {
    const error = await failure(database.execute('delete from authors where id = :id', { id: 1 }))
    expect(error).toBeInstanceOf(ForeignKeyViolationError)
  })

  it('of a missing value for a NOT NULL column is a NotNullViolationError with the column', async () => {
    const error = await violation('insert into authors values (3, :tenant, :email)', {
      tenant: 4711,
      email: null,
    })
    expect(error).toBeInstanceOf(NotNullViolationError)
    expect(error).toMatchObject({ code: 'NOT_NULL_VIOLATION', table: 'authors', columns: ['email'] })
    expect(error.message).toContain('email')
    expect(error.message).not.toContain('4711')
  })

  it('of a failed check is a CheckViolationError with the name of the constraint', async () => {
    const error = await violation('insert into posts values (3, 1, :title)', { title: 'ab' })
    expect(error).toBeInstanceOf(CheckViolationError)
    expect(error).toMatchObject({ code: 'CHECK_VIOLATION', constraint: 'titled' })
    expect(error.message).not.toContain("'ab'")
  })

  it('has the same class from every query method, from builders and from streams', async () => {
    const row = { id: 1, tenant: 1, email: 'x' }
    const ways = [
      () => database.execute(database.table('authors').insert(row)),
      async () => database.table('authors').insert(row),
      () => database.executeMany(database.table('authors'), [row]),
      () => database.fetchAll('insert into authors values (:id, :tenant, :email) returning id', row),
      () =>
        database.transaction((tx) => tx.execute('insert into authors values (:id, :tenant, :email)', row)),
      () => database.iterate('insert into authors values (:id, :tenant, :email) returning id', row).next(),
    ]
    for (const way of ways) expect(await failure(way())).toBeInstanceOf(UniqueViolationError)
  })

  it('of a wrong statement has the SQL text without the values', async () => {
    const error = await failure(
      database.fetchAll('selekt * from authors where email = :email', { email: SECRET }),
    )
    expect(error).toBeInstanceOf(QueryError)
    expect(error).toMatchObject({ code: 'QUERY_FAILED', name: 'QueryError' })
    expect((error as QueryError).sql).toMatch(/^selekt \* from authors where email = [$?]1$/)
    expect(error.message).toMatch(/syntax error/)
    expect(error.message).not.toContain(SECRET)
    expect(await failure(Promise.resolve(database.knex.raw('selekt ?', [SECRET])))).toMatchObject({
      sql: expect.stringMatching(/^selekt/) as unknown,
      message: expect.not.stringContaining(SECRET) as unknown,
    })
  })

  it("keeps the driver's error as its cause", async () => {
    const error = await failure(database.fetchAll('selekt'))
    expect(error.cause).toMatchObject({ code: isPostgres ? '42601' : 'SQLITE_ERROR' })
  })

  it('is an instance of every class above its own, and has its own name', async () => {
    const error = await violation('insert into authors values (1, 7, :email)', { email: 'x' })
    for (const Class of [UniqueViolationError, ConstraintViolationError, QueryError, DatabaseError, Error]) {
      expect(error).toBeInstanceOf(Class)
    }
    expect(error.name).toBe('UniqueViolationError')
    expect(String(error)).toMatch(/^UniqueViolationError: The row exists already/)
  })

  if (isPostgres) {
    it.each([
      ['select cast(:x as integer)', '22P02'],
      ['select cast(:x as timestamp)', '22007'],
      ['select cast(:x as json)', '22P02'],
      ["select '{}'::int[] || :x::int[]", '22P02'],
    ])('does not quote the value that was refused: %s', async (sql, state) => {
      const error = await failure(database.fetchVal(sql, { x: SECRET }))
      expect(error.message).toContain(state)
      expect(error.message).not.toContain(SECRET)
    })
  }

  if (isPostgres) {
    it('of a lock that others hold is a SerializationError, which retries runs again', async () => {
      const holder = await database.begin()
      await holder.execute('update posts set title = null')
      const wait = async (sql: string): Promise<void> =>
        database.transaction(async (tx) => {
          await tx.execute("set local lock_timeout = '20ms'")
          await tx.execute(sql)
        })
      for (const sql of ['update posts set id = 1', 'select * from posts for update nowait']) {
        const error = await failure(wait(sql))
        expect(error).toBeInstanceOf(SerializationError)
        expect(error).toMatchObject({ retryable: true, sql, cause: { code: '55P03' } })
        expect(error.message).toMatch(/lock .* held by others/)
      }
      let attempts = 0
      const retried = database.transaction(
        async (tx) => {
          attempts += 1
          if (attempts === 2) await holder.rollback()
          await tx.fetchAll('select * from posts for update nowait')
        },
        { retries: 3 },
      )
      await retried
      expect(attempts).toBe(2)
    })

    it('is a ConnectionError when the server ends the session, whatever the reason', async () => {
      const one = await context.open({ pool: { size: 1, maxOverflow: 0 } })
      const late = one.transaction(async (tx) => {
        await tx.execute("set local transaction_timeout = '50ms'")
        await tx.fetchVal('select pg_sleep(10)')
      })
      const error = await failure(late)
      expect(error).toBeInstanceOf(ConnectionError)
      expect(error.message).toMatch(/closed the connection: .*transaction timeout/)
      expect(await one.fetchVal('select 1')).toBe(1)
    })
  }

  it('shows no password when it or any other object of the library is printed', async () => {
    const url = isPostgres ? context.url.replace('://postgres@', '://postgres:hunter2@') : context.url
    const other = await context.open({}, url)
    const connection = await other.acquire()
    const tx = await connection.begin()
    const error = await failure(tx.fetchAll('selekt'))
    for (const thing of [other, other.url, other.knex, connection, tx, error, other.holders()]) {
      expect(inspect(thing, { depth: 20 })).not.toContain('hunter2')
    }
    expect(inspect(other)).toBe(`Database(${String(other.url)})`)
    await tx.rollback()
    await connection.release()
  })

  it('does not quote a bound value that the database puts into its message', async () => {
    const statement = isSqlite ? "select json_extract('{}', :path)" : 'select cast(:path as regclass)'
    const error = await failure(database.fetchVal(statement, { path: 'my-secret' }))
    expect(error.message).not.toContain('my-secret')
    expect(error.stack).not.toContain('my-secret')
  })

  if (context.dialect === 'postgresql') {
    it('does not quote a bound value that holds a quotation mark', async () => {
      const database = await context.open()
      const error = await failure(database.fetchVal('select cast(:x as integer)', { x: 'x" secret-4711' }))
      expect(error.message).not.toContain('secret-4711')
    })

    it('leaves out values that look like names, and keeps the names of tables', async () => {
      const cast = database.fetchAll('select * from unnest(cast(:n as regclass[]))', { n: ['hidden_value'] })
      expect((await failure(cast)).message).not.toContain('hidden_value')
      const missing = database.fetchAll('select * from nowhere where x = :a', { a: 'relation' })
      expect((await failure(missing)).message).toContain('relation "nowhere" does not exist')
    })
  }
})
