/** SQL text of several statements is refused; one statement may hold semicolons in its body. */
import { BindError, type Database, type DatabaseOptions } from '../../../src/database'
import { all, failure, idsOf } from '../support'
import { eachDatabase } from '../../support/each-database'

eachDatabase('SQL text', (context) => {
  it('is refused when it holds a second statement, and none of it runs', async () => {
    const database = await context.open()
    await database.execute('create table t (id integer)')
    for (const sql of ['delete from t; drop table t', 'drop table t;\nselect 1', 'select 1;; select 2']) {
      await expect(database.execute(sql)).rejects.toThrow(/more than one statement/)
      await expect(database.fetchAll(sql)).rejects.toThrow(BindError)
    }
    await expect(database.fetchAll('select * from t')).resolves.toEqual([])
  })

  it('is refused when a second statement follows a column called begin', async () => {
    const database = await context.open()
    await database.execute('create table slots (begin text, until text)')
    for (const sql of [
      "create table shifts (begin text); insert into slots values ('a', 'b')",
      "create index slots_begin on slots (begin); insert into slots values ('a', 'b')",
    ]) {
      await expect(database.execute(sql)).rejects.toThrow(/more than one statement/)
    }
    await expect(database.fetchAll('select * from slots')).resolves.toEqual([])
    await database.execute('drop table slots')
  })

  const open = (options: DatabaseOptions = {}): Promise<Database> =>
    context.open({ pool: { size: 1, maxOverflow: 0 }, ...options })

  it('is refused when a second statement follows CREATE', async () => {
    const database = await open()
    await database.execute('create table kept (id integer)')
    const two = 'create table made (id integer); drop table kept'
    expect(await failure(database.execute(two))).toBeInstanceOf(BindError)
    await expect(database.fetchAll('select * from kept')).resolves.toEqual([])
  })

  it('is one statement when it holds the body of a trigger or a function', async () => {
    const database = await context.open()
    await database.execute('create table source (id integer)')
    await database.execute('create table log (id integer)')
    if (context.dialect === 'sqlite') {
      await database.execute(
        'create trigger note after insert on source when new.id = case when 1 then new.id end begin ' +
          'insert into log values (case new.id when 1 then 0 else new.id end); insert into log values (-new.id); end',
      )
    } else {
      await database.execute(`create function note() returns trigger language plpgsql as $$
        begin insert into log values (new.id); insert into log values (-new.id); return new; end $$`)
      await database.execute(
        'create trigger note after insert on source for each row execute function note()',
      )
    }
    await database.execute('insert into source values (:id)', { id: 3 })
    await expect(database.fetchAll('select id from log order by id')).resolves.toEqual([
      { id: -3 },
      { id: 3 },
    ])
  })

  if (context.dialect === 'postgresql') {
    it('is one statement when it holds a rule of two commands, or the body of a SQL function', async () => {
      const database = await context.open()
      await database.execute('create table asked (id integer)')
      await database.execute('create table answers (id integer)')
      await database.execute(
        'create rule twice as on insert to asked do also (insert into answers values (new.id); insert into answers values (9))',
      )
      await database.execute(`create function sum_of(begin integer) returns bigint begin atomic
        select case when begin > 0 then 1 end; select begin + sum(id) from answers; end`)
      await database.execute('insert into asked values (1)')
      await expect(database.fetchVal('select sum_of(5)')).resolves.toBe('15')
    })
  }
})

eachDatabase('a raw text of several statements', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    await database.execute('create table t (id integer primary key, name text)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('runs as a whole or is refused', async () => {
    const text = "insert into t values (1, 'a'); insert into t values (2, 'b')"
    const ways = [
      () => Promise.resolve(database.knex.raw(text)),
      () => database.execute(database.knex.raw(text)),
      () => database.fetchAll(database.knex.raw(text)),
      () => all(database.iterate(database.knex.raw(text))),
      () => all(database.knex.raw(text).stream()),
    ]
    const refusing = context.dialect === 'sqlite' ? ways : ways.slice(3)
    for (const way of refusing) {
      const error = await failure(Promise.resolve().then(way))
      expect(error).toBeInstanceOf(BindError)
      expect(error.message).toMatch(/more than one statement/)
      expect(await idsOf(database)).toEqual([])
    }
    for (const way of ways.slice(0, ways.length - refusing.length)) {
      await way()
      expect(await idsOf(database)).toEqual([1, 2])
      await database.execute('delete from t')
    }
  })

  if (context.dialect === 'postgresql') {
    it('leaves no setting on the connection for the next caller', async () => {
      await database.knex.raw("select 1; set application_name to 'left behind'")
      expect(await database.fetchVal('show application_name')).toBe('millpond')
    })

    it('runs in its transaction when it is the first there', async () => {
      await database.transaction(async () => {
        await database.knex.raw('insert into t values (1); insert into t values (2)')
      })
      expect(await idsOf(database)).toEqual([1, 2])
    })
  }
})
