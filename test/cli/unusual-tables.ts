/** Tables that are odd in their names, keys, types and kinds, each with a row of values. */
import { json } from '../../src/database'

export interface OddTable {
  /** As `database.table(name)` takes it. */
  readonly name: string
  /** Left out where both databases have it. */
  readonly only?: 'postgresql' | 'sqlite'
  /** What makes it; for a plain table its columns are enough. */
  readonly make?: readonly string[]
  /** Types and constraints by the names of columns. */
  readonly columns?: Readonly<Record<string, string>>
  /** Written after the columns, such as a composite key. */
  readonly constraints?: string
  /** Values to insert by name; left out for what only shows the rows of others. */
  readonly row?: Readonly<Record<string, unknown>>
}

export function quoted(name: string): string {
  return name
    .split('.')
    .map((part) => `"${part.replaceAll('"', '""')}"`)
    .join('.')
}

const NAMES = [
  'select',
  'class',
  'constructor',
  'My Table',
  'it\'s "quoted"',
  'tëst',
  '日本',
  '😀',
  '1st',
  'a-b',
  '$dollar',
  '`tick` ${x}',
  '*/ comment // end',
  'back\\slash',
  'new\nline',
  "'); drop table users; --",
]

/** Each name is that of a table, and of one of its columns. */
const NAMED: readonly OddTable[] = NAMES.map((name) => ({
  name,
  columns: { [name]: 'text not null', order: 'integer' },
  row: { [name]: 'a text', order: 1 },
}))

const MOMENT = new Date('2026-03-08T06:30:00.123Z')

const ON_BOTH: readonly OddTable[] = [
  {
    name: 'typed',
    columns: {
      a: 'integer not null',
      b: 'bigint not null',
      c: 'numeric(10, 2) not null',
      d: 'real not null',
      e: 'double precision not null',
      f: 'boolean not null',
      g: 'varchar(5) not null',
      h: 'date not null',
      i: 'time not null',
      j: 'timestamp not null',
      k: 'json not null',
      l: 'smallint not null',
      m: 'uuid not null',
      n: 'char(3) not null',
      o: 'decimal not null',
    },
    row: {
      a: 1,
      b: 2n,
      c: '3.25',
      d: 1.5,
      e: 0.1,
      f: true,
      g: 'ducks',
      h: '2026-03-08',
      i: '02:30:00',
      j: MOMENT,
      k: json({ a: [1, null] }),
      l: 7,
      m: '7d444840-9dc0-11d1-b245-5ffdce74fad2',
      n: 'abc',
      o: '0.5',
    },
  },
  {
    name: 'typed_nullable',
    columns: { a: 'integer', b: 'bigint', c: 'numeric', f: 'boolean', h: 'date', j: 'timestamp', k: 'json' },
    row: { a: null, b: null, c: null, f: null, h: null, j: null, k: null },
  },
  {
    name: 'defaults',
    columns: {
      a: "text not null default 'x'",
      b: 'integer default 5',
      c: 'timestamp not null default current_timestamp',
      d: 'boolean not null default false',
      e: 'text',
    },
    row: { a: 'y', b: 1, c: MOMENT, d: true, e: 'z' },
  },
  {
    name: 'composite_key',
    columns: { a: 'integer not null', b: 'text not null', c: 'text' },
    constraints: ', primary key (a, b)',
    row: { a: 1, b: 'x', c: 'y' },
  },
  { name: 'text_key', columns: { key: 'text primary key', value: 'text' }, row: { key: 'a', value: 'b' } },
  {
    name: 'computed',
    columns: {
      a: 'integer not null',
      b: 'integer generated always as (a * 2) stored',
      c: 'integer not null generated always as (a + 1) stored',
    },
    row: { a: 2 },
  },
  { name: 'Case', columns: { Id: 'integer not null', ID2: 'text' }, row: { Id: 1, ID2: 'x' } },
  { name: 'x'.repeat(63), columns: { ['y'.repeat(63)]: 'text' }, row: { ['y'.repeat(63)]: 'z' } },
  {
    name: 'shown',
    make: [
      'create view shown as select a, f, j, k, c, count(*) as n, max(g) as g from typed group by 1, 2, 3, 4, 5',
    ],
    only: 'sqlite',
  },
  { name: 'a view', make: ['create view "a view" as select a, b as "b c", f, j, k from typed'] },
]

const ON_POSTGRES: readonly OddTable[] = [
  {
    name: 'pg_typed',
    only: 'postgresql',
    columns: {
      a: 'timestamptz not null',
      b: 'jsonb not null',
      c: 'bytea not null',
      d: 'interval not null',
      e: 'point not null',
      f: 'circle not null',
      g: 'int4range not null',
      h: 'inet not null',
      i: 'money not null',
      j: 'name not null',
      k: 'oid not null',
      l: '"char" not null',
      m: 'xml not null',
      n: 'tsvector not null',
      o: 'bit(3) not null',
      p: 'box not null',
      q: 'int2vector not null',
      r: 'timetz not null',
      s: 'regclass not null',
      t: 'pg_lsn not null',
    },
    row: {
      a: MOMENT,
      b: json(['a', { b: 1 }]),
      c: Buffer.from('ducks'),
      d: '1 year 2 months 3 days 04:05:06.789',
      e: '(1,2)',
      f: '<(1,2),3>',
      g: '[1,5)',
      h: '127.0.0.1',
      i: '1.50',
      j: 'ducks',
      k: 16384,
      l: 'c',
      m: '<a/>',
      n: 'a fat cat',
      o: '101',
      p: '((0,0),(1,1))',
      q: '1 2',
      r: '02:30:00+01',
      s: 'pg_class',
      t: '16/B374D848',
    },
  },
  {
    name: 'arrays',
    only: 'postgresql',
    make: [
      "create type \"Mood's\" as enum ('sad', 'it''s ok', 'very \"happy\"')",
      'create domain positive as integer check (value > 0)',
      'create domain tags as text[]',
      'create type pair as (a integer, b text)',
    ],
    columns: {
      a: 'integer[] not null',
      b: 'bigint[] not null',
      c: 'numeric[] not null',
      d: 'timestamptz[] not null',
      e: 'date[] not null',
      f: '"Mood\'s"[] not null',
      g: 'positive[] not null',
      h: 'tags not null',
      i: 'jsonb[] not null',
      j: 'bytea[] not null',
      k: 'point[] not null',
      l: 'boolean[] not null',
      m: 'int4range[] not null',
      n: 'pair[] not null',
      o: 'interval[] not null',
      p: 'float8[] not null',
      q: 'uuid[]',
      r: 'name[] not null',
      s: 'money[] not null',
    },
    row: {
      a: [1, 2],
      b: [1n, 9_007_199_254_740_993n],
      c: ['0.70'],
      d: [MOMENT],
      e: ['2026-03-08'],
      f: ['sad', "it's ok", 'very "happy"'],
      g: [1],
      h: ['a', 'b'],
      i: [json({ a: 1 })],
      j: [Buffer.from('ducks')],
      k: ['(1,2)'],
      l: [true],
      m: ['[1,5)'],
      n: ['(1,x)'],
      o: ['1 day'],
      p: [0.1],
      q: null,
      r: ['ducks'],
      s: ['1.50'],
    },
  },
  {
    name: 'named_types',
    only: 'postgresql',
    make: [
      "create type kind as enum ('b', 'a')",
      'create domain email as text not null',
      "create domain kind_of as kind default 'a'",
      'create domain email_of as email',
      'create domain moment as timestamptz',
      'create domain many as bigint[]',
    ],
    columns: {
      a: 'kind not null',
      b: 'kind',
      c: 'email',
      d: 'kind_of not null',
      e: 'email_of',
      f: 'moment not null',
      g: 'many not null',
      h: 'pair not null',
    },
    row: { a: 'b', b: null, c: 'x', d: 'b', e: 'x', f: MOMENT, g: [1n], h: '(1,x)' },
  },
  {
    name: 'identities',
    only: 'postgresql',
    columns: {
      a: 'integer generated always as identity',
      b: 'bigserial primary key',
      c: 'text',
    },
    row: { c: 'x' },
  },
  {
    name: 'identity_by_default',
    only: 'postgresql',
    columns: { a: 'bigint generated by default as identity', c: 'text' },
    row: { c: 'x' },
  },
  { name: 'without_columns', only: 'postgresql', columns: {} },
  {
    name: 'measures',
    only: 'postgresql',
    make: [
      'create table measures (id integer not null, at date not null, primary key (id, at)) partition by range (at)',
      "create table measures_2026 partition of measures for values from ('2026-01-01') to ('2027-01-01')",
    ],
    row: { id: 1, at: '2026-03-08' },
  },
  {
    name: 'cities',
    only: 'postgresql',
    columns: { name: 'text not null' },
    row: { name: 'x' },
  },
  {
    name: 'capitals',
    only: 'postgresql',
    make: ['create table capitals (state text) inherits (cities)'],
    row: { name: 'y', state: 'z' },
  },
  {
    name: 'materialized',
    only: 'postgresql',
    make: ['create materialized view materialized as select a, b, f as "F g" from typed'],
  },
  {
    name: 'own.users',
    only: 'postgresql',
    make: ['create schema own'],
    columns: { a: 'text' },
    row: { a: 'x' },
  },
  {
    name: 'Odd "Schema".select',
    only: 'postgresql',
    make: ['create schema "Odd ""Schema"""', "create type own.kind as enum ('x', 'y')"],
    columns: { from: 'own.kind not null' },
    row: { from: 'x' },
  },
]

const ON_SQLITE: readonly OddTable[] = [
  {
    name: 'typed_by_name',
    only: 'sqlite',
    columns: {
      a: 'blob not null',
      b: 'datetime not null',
      c: 'boolean not null',
      d: 'clob not null',
      e: 'float not null',
      f: 'not null',
      g: 'bigint unsigned not null',
      h: 'mediumint(8) not null',
      i: 'point not null',
      j: 'JSONB not null',
      k: 'nvarchar(10) not null',
      l: 'decimal(10, 5) not null',
      m: 'datetime not null',
      n: 'interval not null',
    },
    row: {
      a: Buffer.from('ducks'),
      b: MOMENT,
      c: false,
      d: 'x',
      e: 1.5,
      f: 'anything',
      g: 5,
      h: 6,
      i: '(1,2)',
      j: json([1]),
      k: 'y',
      l: '0.5',
      m: MOMENT,
      n: '1 day',
    },
  },
  {
    name: 'rowid_key',
    only: 'sqlite',
    columns: { id: 'integer primary key', a: 'text' },
    row: { id: 1, a: 'x' },
  },
  {
    name: 'autoincrement_key',
    only: 'sqlite',
    columns: { id: 'integer not null primary key autoincrement', a: 'text' },
    row: { a: 'x' },
  },
  {
    name: 'descending_key',
    only: 'sqlite',
    columns: { id: 'integer primary key desc', a: 'text' },
    row: { id: 1, a: 'x' },
  },
  { name: 'int_key', only: 'sqlite', columns: { id: 'int primary key', a: 'text' }, row: { id: 1, a: 'x' } },
  {
    name: 'no_rowid',
    only: 'sqlite',
    make: ['create table no_rowid (a text, b integer, c text, primary key (a, b)) without rowid'],
    row: { a: 'x', b: 1, c: 'y' },
  },
  {
    name: 'strict_table',
    only: 'sqlite',
    make: ['create table strict_table (a integer primary key, b any, c blob not null, d real) strict'],
    row: { a: 1, b: 'x', c: Buffer.from('y'), d: 2.5 },
  },
  {
    name: 'virtually_computed',
    only: 'sqlite',
    columns: { a: 'integer not null', b: 'integer as (a + 1) virtual', c: 'text as (a || 1)' },
    row: { a: 1 },
  },
  {
    name: 'searched',
    only: 'sqlite',
    make: ['create virtual table searched using fts5 (title, body)'],
    row: { title: 'x', body: 'y' },
  },
  {
    name: 'writable_view',
    only: 'sqlite',
    make: [
      'create view writable_view as select id, a from rowid_key',
      'create trigger writing instead of insert on writable_view begin insert into rowid_key values (new.id, new.a); end',
    ],
  },
  {
    name: 'expressions',
    only: 'sqlite',
    make: ["create view expressions as select count(*) as n, 'x' as t, 1.5 as r, null as z, x'00' as b"],
  },
]

export const ODD_TABLES: readonly OddTable[] = [...NAMED, ...ON_BOTH, ...ON_POSTGRES, ...ON_SQLITE]
