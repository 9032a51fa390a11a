/** Fingerprints of statements: without values, and the same for all calls of a statement. */
import { describeStatement, fingerprintOf, operationOf } from '../../../src/database/sql/fingerprint'

describe('fingerprintOf', () => {
  it.each([
    ["select * from t where name = 'it''s' and n = -1.5e3", 'select * from t where name = ? and n = -?'],
    ['select 1, .5, 0xFF, 1_000', 'select ?, ?, ?, ?'],
    ["select E'a\\'b', b'01', x'ff', U&'d', $$a'b$$, $tag$ $$ $tag$", 'select ?, ?, ?, ?, ?, ?'],
    ['select $a1$hunter2 $a2$ hunter3$a1$, $é$hunter2$é$', 'select ?, ?'],
    ['select 0b1011, 0o17, 0xFF_EE, 1_000.5e-3, 1.e5, t1.a1, a.b2', 'select ?, ?, ?, ?, ?, t1.a1, a.b2'],
    ['select $1, ?, :name, @name, $name, x::int', 'select ?, ?, ?, ?, ?, x::int'],
    ['select a -- hunter2\n  from /* hunter2 */ t;', 'select a from t'],
    ['select * from t where id in (1, 2,3) or id in ($4)', 'select * from t where id in (…) or id in (…)'],
    ["insert into t (a, b) values (1, 'x'), (2, 'y')", 'insert into t (a, b) values (…)'],
    ['insert into t values (?)', 'insert into t values (…)'],
    ['select "a1", `b2`, t1.c2 from t1', 'select "a1", `b2`, t1.c2 from t1'],
    [`select "it's", 'x'`, `select "it's", ?`],
    ["select 'never ends", 'select ?'],
    ['select $$never ends', 'select ?'],
    ['select data ?| keys, data ?& keys', 'select data ?| keys, data ?& keys'],
    ['select tags[2], größe2 from t', 'select tags[?], größe2 from t'],
    ['', ''],
  ])('gives for %s', (sql, fingerprint) => {
    expect(fingerprintOf(sql)).toBe(fingerprint)
    expect(fingerprintOf(sql)).toBe(fingerprint)
  })

  it('gives a short fingerprint quickly for any statement', () => {
    const began = performance.now()
    for (const sql of [
      '('.repeat(1e6),
      "'".repeat(1e6),
      `select ${'1, '.repeat(1e5)}1`,
      '/*'.repeat(1e6),
      '$a'.repeat(1e6),
      ' '.repeat(1e6),
    ]) {
      expect(fingerprintOf(sql).length).toBeLessThanOrEqual(501)
    }
    expect(performance.now() - began).toBeLessThan(2000)
  })
})

describe('operationOf', () => {
  it.each([
    ['  select 1', 'SELECT'],
    ['begin immediate', 'BEGIN'],
    ['hunter2', 'OTHER'],
    ['', 'OTHER'],
  ])('reads %j as %s', (sql, operation) => {
    expect(operationOf(sql)).toBe(operation)
  })
})

describe('the summary of a statement', () => {
  it.each([
    ['select * from posts where id = $1', 'SELECT posts'],
    [
      'SELECT p.*, extract(year from p.at) FROM "posts" p\n LEFT JOIN public."users" u ON u.id = p.author_id',
      'SELECT posts public.users',
    ],
    ['select * from (select id from only posts) p where exists (select 1 from likes)', 'SELECT posts likes'],
    ["select 'mail from peter', a is distinct from b from t", 'SELECT t'],
    ['insert into `posts` (title) values (?) on conflict do update set title = ?', 'INSERT posts'],
    [
      'update only posts set title = ? where id in (select post_id from likes for update)',
      'UPDATE posts likes',
    ],
    ['delete from posts -- from users', 'DELETE posts'],
    ['create table if not exists tags (id integer)', 'CREATE tags'],
    ['BEGIN ISOLATION LEVEL SERIALIZABLE', 'BEGIN'],
    ['select 1', 'SELECT'],
  ])('of %s is %s', (sql, summary) => {
    expect(describeStatement(sql).summary).toBe(summary)
  })

  it('is short, and made of whole names', () => {
    const names = Array.from({ length: 20 }, (_, index) => `a_table_with_a_long_name_${index}`)
    const { summary } = describeStatement(`select * from ${names.join(' join ')}`)
    expect(summary.length).toBeLessThanOrEqual(255)
    expect(names).toContain(summary.split(' ').at(-1))
  })
})
