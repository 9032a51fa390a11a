/** The SQL parser: finds :names, the verb of a statement, and whether a text holds several statements. */
import type { Lexicon } from '../../../src/database/driver/statement'
import { parseSql } from '../../../src/database/sql/parser'

const POSTGRES: Lexicon = {
  dollarQuotes: true,
  bracketNames: false,
  driverPlaceholder: /\$\d+/y,
  changesSession: () => false,
}
const SQLITE: Lexicon = {
  dollarQuotes: false,
  bracketNames: true,
  driverPlaceholder: /\?\d*|[$@][A-Za-z0-9_]+/y,
  changesSession: () => false,
}
const names = (sql: string, lexicon = POSTGRES): readonly string[] => parseSql(sql, lexicon).names

describe('a :name', () => {
  it.each([
    ['select :a', ['a']],
    ['select :a, :b, :a', ['a', 'b']],
    ['select :a+:b', ['a', 'b']],
    ['insert into t values (:a,:b)', ['a', 'b']],
    ['where id=:id', ['id']],
    ['select :first_name1', ['first_name1']],
    ['select :a::int', ['a']],
    ['select (:a)::text || :b::text', ['a', 'b']],
    ['select :a\n', ['a']],
    [':a', ['a']],
    ['select -:a', ['a']],
    ['select x->:key', ['key']],
  ])('is found in %j', (sql, expected) => {
    expect(names(sql)).toEqual(expected)
    expect(names(sql, SQLITE)).toEqual(expected)
  })

  it.each([
    "select ':a'",
    "select 'it''s :a'",
    'select \'12:30\', \'{"a":b, "c":"d"}\'',
    'select ":a"',
    'select "it""s :a"',
    'select 1 -- :a',
    'select 1 /* :a */',
    'select now()::timestamp::date',
    'select 12:30',
    'select a:b',
    "select 'unended :a",
    'select "unended :a',
    'select 1 /* unended :a',
  ])('is not found in %j', (sql) => {
    expect(names(sql)).toEqual([])
    expect(names(sql, SQLITE)).toEqual([])
  })

  it.each([
    'select $$ :a $$',
    "select $tag$ :a $$ ' :b $tag$",
    "select E'it\\'s :a'",
    "select e'\\\\' || E'\\' :a'",
    'select 1 /* outer /* :a */ :b */',
    'select tags[1:2], tags[lower:upper]',
    'select $$ unended :a',
  ])('is not found in PostgreSQL’s %j', (sql) => {
    expect(names(sql)).toEqual([])
  })

  it.each(['select [a :b]', 'select `a :b`'])('is not found in SQLite’s %j', (sql) => {
    expect(names(sql, SQLITE)).toEqual([])
  })

  it('is found behind text that only looks like the start of a literal', () => {
    expect(names("select 'a\\' || :b")).toEqual(['b'])
    expect(names("select name'x' || :b")).toEqual(['b'])
    expect(names('select 1 /* outer /* inner */ */ + :b')).toEqual(['b'])
    expect(names('select 1 /* outer /* inner */ + :b', SQLITE)).toEqual(['b'])
    expect(names("select $1$ || :b, '$'")).toEqual(['b'])
    expect(names('select a$$b, :c, d$$e')).toEqual(['c'])
    expect(names('select array[:a, :b]')).toEqual(['a', 'b'])
    expect(names('select 1 - - :a')).toEqual(['a'])
    expect(names('select 1 / :a')).toEqual(['a'])
  })

  it('is found beside the operators of jsonb', () => {
    expect(parseSql('select a ? :b, a ?| :c, a ?& :d, a @> :e', POSTGRES)).toMatchObject({
      names: ['b', 'c', 'd', 'e'],
      foundPlaceholder: null,
    })
  })

  it('is a list when it stands alone inside IN ()', () => {
    const lists = (sql: string): unknown[] =>
      parseSql(sql, POSTGRES).segments.flatMap((one) => ('name' in one ? [[one.isList, one.isNegated]] : []))
    expect(lists('x in (:a)')).toEqual([[true, false]])
    expect(lists('x NOT\n IN( :a )')).toEqual([[true, true]])
    expect(lists('x in (:a, :b)')).toEqual([
      [false, false],
      [false, false],
    ])
    expect(lists('x in (select :a)')).toEqual([[false, false]])
    expect(lists('begin(:a)')).toEqual([[false, false]])
  })

  it('keeps the text around it unchanged', () => {
    const sql = "select ':x', :a::int -- :y\n from t where b = :b"
    const { segments } = parseSql(sql, POSTGRES)
    expect(segments.map((one) => ('text' in one ? one.text : `:${one.name}`)).join('')).toBe(sql)
  })
})

describe('a statement', () => {
  it.each([
    ['select 1', 'SELECT', true],
    ['  (select 1)', 'SELECT', true],
    ['/* c */ select 1', 'SELECT', true],
    ['with a as (select 1) select * from a', 'SELECT', true],
    ['values (1)', 'VALUES', true],
    ['explain select 1', 'EXPLAIN', true],
    ['explain analyze delete from t', 'EXPLAIN', false],
    ['select * from t for update', 'SELECT', false],
    ['select * from t for no key update', 'SELECT', false],
    ['select * into u from t', 'SELECT', false],
    ['with a as (delete from t returning 1) select * from a', 'DELETE', false],
    ['with a as (select 1) insert into t select * from a', 'INSERT', false],
    ["select replace('a', 'b', 'c')", 'SELECT', true],
    ['select "update" from t', 'SELECT', true],
    ["select 'insert into'", 'SELECT', true],
    ['insert into t values (1)', 'INSERT', false],
    ['create table t (id integer)', 'CREATE', false],
    ['pragma foreign_keys', 'PRAGMA', true],
  ])('%j has the verb %s, and isRead is %s', (sql, verb, isRead) => {
    expect(parseSql(sql, POSTGRES)).toMatchObject({ verb, isRead })
    expect(parseSql(sql, SQLITE)).toMatchObject({ verb, isRead })
  })
})

describe('a text', () => {
  const RULE = 'create rule r as on insert to s do also (insert into a values (1); insert into b values (2))'
  const BODY =
    'create function f(begin int) returns int begin atomic select t.end, case when begin > 0 then 1 end from t; ' +
    'select case begin when 1 then (case when true then 2 end) end; end'
  const TRIGGER =
    'create trigger begin after update of begin on s when new.begin = case when 1 then 2 end begin ' +
    "update t set x = case new.x when 1 then 'a;' else (case when 1 then 2 end) end; select 1; /* ; */ end"

  it.each([
    RULE,
    `${RULE};`,
    BODY,
    `${BODY} -- done;`,
    'create or replace procedure p() begin atomic end;',
    'create table slots (begin text, until text);',
    'create index slots_begin on slots (begin)',
    'create trigger begin before insert on s execute function begin()',
    'create table t (begin atomic, x int)',
    TRIGGER,
    `${TRIGGER};`,
    TRIGGER.replace('create', 'create temporary'),
    'create temp trigger t after insert on s begin insert into a values (1); end; -- that is all',
    'create trigger t after insert on s begin values (1); select 2; end',
  ])('is one statement: %j', (sql) => {
    for (const lexicon of [POSTGRES, SQLITE])
      expect(parseSql(sql, lexicon)).toMatchObject({
        verb: 'CREATE',
        isMultiStatement: false,
        laterVerbs: [],
      })
  })

  it.each([
    ['create table slots (begin text, until text); drop table t', ['DROP']],
    ['create index slots_begin on slots (begin); drop table t', ['DROP']],
    ['create table t (begin atomic, x int); drop table t', ['DROP']],
    ['create view v as select begin from slots; delete from t', ['DELETE']],
    ['create view v as select case when true then 1 end as x; delete from t', ['DELETE']],
    ['create trigger begin before update of begin on s execute function begin(); drop table t', ['DROP']],
    [`${RULE}; drop table t`, ['DROP']],
    [`${BODY}; drop table t`, ['DROP']],
    [`${TRIGGER}; drop table t`, ['DROP']],
    [`select 1; ${BODY}; ${TRIGGER}; ${RULE}`, ['CREATE', 'CREATE', 'CREATE']],
  ])('is several statements: %j', (sql, laterVerbs) => {
    for (const lexicon of [POSTGRES, SQLITE])
      expect(parseSql(sql, lexicon)).toMatchObject({ isMultiStatement: true, laterVerbs })
  })
})
