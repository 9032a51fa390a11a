/** Random SELECTs on a table with a column of each type, on views of it, on CTEs and on VALUES. */
import fc from 'fast-check'
import { json } from '../../../src/database'
import type { Dialect } from '../scratch'

export type Kind =
  'boolean' | 'json' | 'date' | 'moment' | 'integer' | 'bigint' | 'real' | 'numeric' | 'text' | 'bytes'

export interface Output {
  readonly kind: Kind
  /** Read as it is from a column declared so, or computed. */
  readonly isColumn: boolean
}

export interface Select {
  readonly sql: string
  readonly values: Readonly<Record<string, unknown>>
  /** What its columns are, where it means the same on both databases and has the same names on them; else null. */
  readonly outputs: ReadonlyMap<string, Output> | null
  /** Its rows come in an order that it says. */
  readonly isOrdered: boolean
}

const COLUMNS = [
  ['id', 'integer', 'integer primary key', 'integer primary key'],
  ['flag', 'boolean', 'boolean', 'boolean'],
  ['doc', 'json', 'json', 'json'],
  ['day', 'date', 'date', 'date'],
  ['at', 'moment', 'timestamp', 'timestamptz'],
  ['small', 'integer', 'integer', 'integer'],
  ['big', 'bigint', 'bigint', 'bigint'],
  ['part', 'real', 'real', 'double precision'],
  ['exact', 'numeric', 'numeric', 'numeric'],
  ['name', 'text', 'text', 'text'],
  ['bytes', 'bytes', 'blob', 'bytea'],
] as const satisfies readonly (readonly [string, Kind, string, string])[]

/** Names that SQLite, its drivers or objects of JavaScript may have a use of their own for. */
const ALIASES = [
  'a', 'A', 'b', 'x', 'x:1', 'id', 'ID', 'flag', '10', '2', '0', '01', 'two words', 'quote"d', "it's", '?1', ':a', '__proto__',
  'constructor', 'toString', 'length', 'ä', 'NULL', 'select', 'a.b', '-1', '4294967295', '4294967296',
] // prettier-ignore

/** The statements that make the tables, and fill them. */
export function schema(dialect: Dialect): string[] {
  const column = ([name, , sqlite, postgresql]: (typeof COLUMNS)[number]): string =>
    `${name} ${dialect === 'sqlite' ? sqlite : postgresql}`
  const odd = COLUMNS.map(([name], at) => `${name} as ${quoted(ALIASES[at * 2] ?? name)}`)
  return [
    `create table kinds (${COLUMNS.map(column).join(', ')})`,
    `create table giants (id integer primary key, big bigint, part ${dialect === 'sqlite' ? 'real' : 'double precision'})`,
    `create view same as select * from kinds`,
    `create view "odd view" as select ${odd.join(', ')} from kinds`,
    ...(dialect === 'sqlite'
      ? [
          'create view twins as select k.id, l.id, k.flag, l.flag, k.doc, l.name as doc from kinds k join kinds l on l.id = k.id + 1',
          'create table loose (id integer primary key, any_one, "flag:1" boolean, "flag" boolean, whole integer)',
          "insert into loose values (1, 'x', 1, 0, 1), (2, x'00ff', 0, 1, 2.5), (3, 1.5, null, 'yes', 'text'), (4, 7, 2, 1, null)",
        ]
      : []),
    `insert into giants values (1, 9007199254740991, 1), (2, 9007199254740993, 9007199254740992), (3, -9223372036854775808, 1e300),
      (4, 9223372036854775807, -1e17), (5, 7, null)`,
  ]
}

/** The rows of `kinds`, to be inserted one by one. */
export function rows(): Readonly<Record<string, unknown>>[] {
  const documents = [{ a: [1, null, { b: 'ü' }] }, [1, 2], 'text', 7, true, { 10: 1, 2: 2 }, []]
  const names = ['', 'ducks', 'müßig 🐟', "it's", '007', 'x'.repeat(3000), '{"a":1}', 'true', '2026-03-08']
  const moments = [
    '2026-03-08T06:30:00.123Z',
    '1970-01-01T00:00:00.000Z',
    '0001-01-01T00:00:00.001Z',
    '9999-12-31T23:59:59.999Z',
  ]
  const pick = <T>(values: readonly T[], index: number): T | null =>
    index % (values.length + 1) === values.length ? null : (values[index % (values.length + 1)] as T)
  const document = (index: number): unknown => {
    const value = pick(documents, index)
    return value === null ? null : json(value)
  }
  const moment = (index: number): Date | null => {
    const text = pick(moments, index)
    return text === null ? null : new Date(text)
  }
  return Array.from({ length: 23 }, (_, index) => ({
    id: index + 1,
    flag: pick([true, false], index),
    doc: document(index),
    day: pick(['2026-03-08', '0001-01-01', '9999-12-31'], index),
    at: moment(index),
    small: pick([1, 0, -1, 2, 2 ** 31 - 1, -(2 ** 31)], index),
    big: pick([0, 2 ** 31, -(2 ** 31) - 1, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER], index),
    part: pick([0.1, -1.5, 3, 1e300, 5e-324, 1 / 3], index),
    exact: pick(['0.7', '-12345.678', '5', '1000000'], index),
    name: pick(names, index),
    bytes: pick([Buffer.alloc(0), Buffer.from([0, 255]), Buffer.alloc(5000, 1)], index),
  }))
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

interface Term extends Output {
  readonly sql: string
  /** What it is called without AS, on both databases; null where they do not agree. */
  readonly name: string | null
  readonly isPortable: boolean
}

function columnsOf(table: string): Term[] {
  return COLUMNS.map(([name, kind]) => ({
    sql: `${table}.${name}`,
    kind,
    isColumn: true,
    name,
    isPortable: true,
  }))
}

/** Computed from a table with the columns of `kinds`. */
function computedFrom(table: string): Term[] {
  const made = (kind: Kind, ...texts: readonly string[]): Term[] =>
    texts.map((sql) => ({ sql, kind, isColumn: false, name: null, isPortable: true }))
  const t = table
  return [
    ...made('integer', `${t}.id + 1`, `${t}.id / 2`, '1', 'cast(:int as integer)', `length(${t}.name)`, `case ${t}.flag when true then 1 else 2 end`, `cast('12' as integer)`),
    ...made('bigint', 'count(*) over ()', `row_number() over (order by k.id desc)`, `${t}.big - 1`, '(select count(*) from kinds)', '2147483648'),
    ...made('real', `${t}.part * 2`, `cast(${t}.id as double precision) / 3`, `sum(${t}.part) over (order by k.id rows between 1 preceding and current row)`),
    ...made('numeric', '1.5', `${t}.exact + 1`),
    ...made('boolean', `${t}.id = 1`, `${t}.flag is null`, `not ${t}.flag`, 'true', `exists (select 1 from kinds e where e.id = ${t}.id - 1)`, `${t}.id in (1, 2)`),
    ...made('text', `coalesce(${t}.name, 'none')`, `${t}.name || '!'`, "'text'", 'cast(:txt as text)', `cast(${t}.id as text)`, `case when ${t}.id > 3 then ${t}.name end`,
      `(select min(e.name) from kinds e where e.id = ${t}.id + 1)`, `lag(${t}.name) over (order by k.id)`, `replace(${t}.name, 'u', ':x ?1 -- " [')`),
    ...made('date', `coalesce(${t}.day, '2000-01-01')`),
    ...made('bytes', `coalesce(${t}.bytes, ${t}.bytes)`),
  ] // prettier-ignore
}

/** Each database's own, or of another meaning on the other. */
function ownOf(dialect: Dialect, table: string): Term[] {
  const texts =
    dialect === 'sqlite'
      ? [
          ':txt', ':int', ':large', `${table}.rowid`, `typeof(${table}.part)`, `${table}.[flag]`, `${table}.\`doc\``, `json_extract(${table}.doc, '$.a')`,
          `${table}.doc -> '$.a'`, `json_array(${table}.id, :txt)`, `max(${table}.flag, 0)`, `+${table}.flag`, `(select flag from kinds where id = 2)`,
          `cast(${table}.flag as boolean)`, `coalesce(${table}.flag, 0)`, `(select doc from kinds limit 1)`, `iif(${table}.id > 2, ${table}.doc, 1)`,
          'null', `x'00ff'`, '9007199254740993', '-9223372036854775808', '1e400', '-0.0', 'random() is null', `${table}.id || ''`, `'a' 'b'`, 'total_changes() < 0',
          `nullif(${table}.part, 3)`, `first_value(${table}.flag) over (order by k.id)`, `group_concat(${table}.name) over ()`, `unixepoch(${table}.at)`,
          `cast(x'e282' as text)`, `char(0)`, `'a' || char(0) || 'b'`, `(1, 2) = (1, 2)`, `${table}.name collate nocase`, `date(${table}.at)`,
        ]
      : [
          ':txt', `${table}.doc -> 'a'`, `${table}.ctid`, `array[${table}.id, null]`, `interval '1 day'`, `${table}.flag::text`, 'now() is null', `'x'::bytea`,
          `row(${table}.id, 'a')`, 'null', `'nan'::float8`, `'infinity'::timestamptz`, `generate_series(1, 3)`, '12345678901234567890', 'cast(:large as numeric)',
        ] // prettier-ignore
  return texts.map((sql) => ({ sql, kind: 'text', isColumn: false, name: null, isPortable: false }))
}

interface Source {
  readonly cte: string
  readonly from: string
  readonly tables: readonly string[]
}

const SOURCES: readonly Source[] = [
  { cte: '', from: 'kinds k', tables: ['k'] },
  { cte: '', from: 'same as k', tables: ['k'] },
  { cte: '', from: '(select * from kinds) as k', tables: ['k'] },
  { cte: '', from: 'kinds k join kinds l on l.id = k.id + 1', tables: ['k', 'l'] },
  { cte: '', from: 'kinds k left join same l on l.id = k.small', tables: ['k', 'l'] },
  { cte: '', from: 'kinds k join kinds l using (id)', tables: ['k', 'l'] },
  { cte: '', from: 'kinds as k, (select 1 as one) as o', tables: ['k'] },
  { cte: 'with c as (select * from kinds where id > 1) ', from: 'c k', tables: ['k'] },
  { cte: 'with c as (select * from kinds), d as (select * from c) ', from: 'c k join d l on k.id = l.id + 2', tables: ['k', 'l'] },
  {
    cte: 'with recursive n (n) as (select 1 union all select n + 1 from n where n < 5) ',
    from: 'n join kinds k on k.id = n.n',
    tables: ['k'],
  },
] // prettier-ignore

const CONDITIONS = [
  '', '', '', ' where k.id in (:ids)', ' where k.id > :int', ' where k.flag', ' where k.name = :txt', ' where k.doc is not null', ' where 1 = 0',
  ' where k.id between 3 and 9 -- order by limit', ' where not (k.small < 1)',
] // prettier-ignore

/** Random ones for a database; with one seed the same for all, but for those that only one of them knows. */
export function select(dialect: Dialect): fc.Arbitrary<Select> {
  return fc
    .tuple(
      fc.oneof(
        { weight: 12, arbitrary: listed(dialect) },
        { weight: 4, arbitrary: compound() },
        { weight: 3, arbitrary: starred() },
        { weight: 2, arbitrary: grouped() },
        { weight: 2, arbitrary: fc.constantFrom(...fixed(dialect)).map((sql) => plain(sql)) },
      ),
      fc.record({
        int: fc.constantFrom(0, 1, 2, 5, -1, 100, 2 ** 31 - 1),
        txt: fc.constantFrom('', 'ducks', 'x', "it's", ':int', '🐟', '7'),
        ids: fc.constantFrom(
          [],
          [1],
          [2, 3, 4, 1],
          Array.from({ length: 1200 }, (_, id) => id),
        ),
        large: fc.constantFrom(2n ** 53n + 1n, -(2n ** 63n), 2n ** 63n - 1n, 5n),
        count: fc.constantFrom(0, 1, 2, 7, 1000),
      }),
    )
    .map(([made, values]) => ({
      ...made,
      values: Object.fromEntries(
        Object.entries(values).filter(([name]) => new RegExp(`:${name}\\b`).test(withoutQuoted(made.sql))),
      ),
    }))
}

function withoutQuoted(sql: string): string {
  return sql.replaceAll(/'[^']*'|"[^"]*"|--.*/g, '')
}

function plain(sql: string): Select {
  return { sql, values: {}, outputs: null, isOrdered: /\border by\b/.test(sql) }
}

/** `select a as b, … from …` */
function listed(dialect: Dialect): fc.Arbitrary<Select> {
  return fc.constantFrom(...SOURCES).chain((source) => {
    const term = fc
      .constantFrom(...source.tables)
      .chain((table) =>
        fc.oneof(
          { weight: 5, arbitrary: fc.constantFrom(...columnsOf(table)) },
          { weight: 4, arbitrary: fc.constantFrom(...computedFrom(table)) },
          { weight: 1, arbitrary: fc.constantFrom(...ownOf(dialect, table)) },
        ),
      )
    const alias = fc.oneof(
      { weight: 1, arbitrary: fc.constant(null) },
      { weight: 3, arbitrary: fc.constantFrom(...ALIASES) },
    )
    return fc
      .record({
        terms: fc.array(fc.tuple(term, alias), { minLength: 1, maxLength: 6 }),
        isDistinct: fc.integer({ min: 0, max: 5 }).map((n) => n === 0),
        where: fc.constantFrom(...CONDITIONS),
        limit: fc.constantFrom(
          '',
          '',
          '',
          '\nlimit 3',
          '\nlimit :count',
          '\nlimit 5 offset 2',
          '\nlimit 2 -- rows',
        ),
        ending: fc.constantFrom('', '', '', ';', ' -- the end', ' /* the end */ ;  '),
      })
      .map(({ terms, isDistinct, where, limit, ending }) => {
        const list = terms.map(([{ sql }, name]) => (name === null ? sql : `${sql} as ${quoted(name)}`))
        const order = `\norder by ${source.tables.map((table) => `${table}.id`).join(', ')}`
        const isPortable =
          !isDistinct && terms.every(([one, name]) => one.isPortable && (name !== null || one.name !== null))
        return {
          sql: `${source.cte}select ${isDistinct ? 'distinct ' : ''}${list.join(', ')} from ${source.from}${where}${isDistinct ? '' : order + limit}${ending}`,
          values: {},
          outputs: isPortable ? outputsOf(terms.map(([one, name]) => [name ?? one.name ?? '', one])) : null,
          isOrdered: !isDistinct,
        }
      })
  })
}

/** Of columns that share a name the last one counts. */
function outputsOf(named: readonly (readonly [string, Output])[]): ReadonlyMap<string, Output> {
  return new Map(named)
}

/** Two queries with columns of the same kinds. */
function compound(): fc.Arbitrary<Select> {
  const kinds = [...new Set(COLUMNS.map(([, kind]) => kind))].filter((kind) => kind !== 'json')
  const ofKind = (kind: Kind): fc.Arbitrary<readonly [Term, Term]> => {
    const terms = [...columnsOf('k'), ...computedFrom('k')].filter((one) => one.kind === kind)
    return fc.tuple(fc.constantFrom(...terms), fc.constantFrom(...terms))
  }
  return fc
    .record({
      columns: fc.array(
        fc.constantFrom(...kinds).chain((kind) => fc.tuple(ofKind(kind), fc.constantFrom(...ALIASES))),
        { minLength: 1, maxLength: 4 },
      ),
      by: fc.constantFrom('union all', 'union', 'except', 'intersect'),
      isWrapped: fc.boolean(),
    })
    .map(({ columns, by, isWrapped }) => {
      const one = columns.map(([[first], name]) => `${first.sql} as ${quoted(name)}`).join(', ')
      const other = columns.map(([[, second]]) => second.sql).join(', ')
      const sql = `select ${one} from kinds k where k.id < 6 ${by} select ${other} from kinds k where k.id > 4`
      const hasTwins = new Set(columns.map(([, name]) => name.toLowerCase())).size < columns.length
      const outputs = outputsOf(columns.map(([[first, second], name]) => [name, { ...first, isColumn: first.isColumn && second.isColumn }]))
      return {
        sql: isWrapped ? `select * from (${sql}) as w` : sql,
        values: {},
        // SQLite gives columns of a subquery other names, if they differ by nothing, or by capitals only.
        outputs: isWrapped && hasTwins ? null : outputs,
        isOrdered: false,
      }
    }) // prettier-ignore
}

function starred(): fc.Arbitrary<Select> {
  return fc
    .record({
      source: fc.constantFrom(...SOURCES.slice(0, 5)),
      list: fc.constantFrom('*', 'k.*', 'k.*, k.id', 'k.flag, k.*', 'k.*, k.*'),
    })
    .map(({ source, list }) => {
      const columns = COLUMNS.map(([name, kind]) => [name, { kind, isColumn: true }] as const)
      const isKnown = list !== 'k.flag, k.*'
      return {
        sql: `select ${list} from ${source.from} order by ${source.tables.map((table) => `${table}.id`).join(', ')}`,
        values: {},
        outputs: isKnown ? outputsOf(columns) : null,
        isOrdered: true,
      }
    })
}

function grouped(): fc.Arbitrary<Select> {
  const aggregates: readonly (readonly [string, Kind])[] = [
    ['count(*)', 'bigint'], ['count(k.name)', 'bigint'], ['max(k.id)', 'integer'], ['sum(k.id)', 'bigint'], ['avg(k.id)', 'numeric'],
    ['min(k.day)', 'date'], ['max(k.at)', 'moment'], ['sum(k.part)', 'real'], ['max(k.big)', 'bigint'], ['count(distinct k.flag)', 'bigint'],
    ['sum(count(*)) over ()', 'numeric'],
  ] // prettier-ignore
  return fc
    .record({
      by: fc.constantFrom('flag', 'day', 'at', 'small', 'exact'),
      list: fc.array(fc.tuple(fc.constantFrom(...aggregates), fc.constantFrom(...ALIASES)), { minLength: 1, maxLength: 4 }),
      having: fc.constantFrom('', ' having count(*) > 3'),
    })
    .map(({ by, list, having }) => {
      const kind = COLUMNS.find(([name]) => name === by)?.[1] ?? 'text'
      const items = list.map(([[text], name]) => `${text} as ${quoted(name)}`).join(', ')
      return {
        sql: `select k.${by}, ${items} from kinds k group by k.${by}${having}`,
        values: {},
        outputs: outputsOf([
          [by, { kind, isColumn: true }],
          ...list.map(([[, kind], name]): [string, Output] => [name, { kind, isColumn: false }]),
        ]),
        isOrdered: false,
      }
    }) // prettier-ignore
}

/** Statements with something about them that is not made of parts, and ones that fail. */
function fixed(dialect: Dialect): string[] {
  const both = [
    'select 1 as a, 2 as a, 3 as "A"', 'select * from "odd view"', 'select * from giants', 'select id, big from giants order by id', 'select part from giants order by id',
    'select big as part, part as big from giants order by id', 'select part as x from giants union all select big from giants', 'select max(big) from giants',
    'select big from giants where id < 2 order by id', 'values (1, \'a\'), (2, null)', 'select * from (values (1.5, null), (2, \'x\')) as v', 'select id from nowhere', 'select no_column from kinds',
    'select 1 +', 'select id, from kinds', 'selec 1', 'select * from kinds k, kinds l where k.id = 3 and l.id < 4 order by l.id', 'select k from kinds k',
    'select (select id from kinds), 1', 'select 1 where 1 = 0', 'select count(*) from kinds where false', 'with a as (select 1 as n) select n, n, n from a',
    'select flag, flag as "flag:1" from kinds order by id', 'select "10", "2", id from (select id, flag as "10", doc as "2" from kinds) as k order by id',
    'select 1 / 0', 'select 1 -- one', 'select 1 /* and */ + 1', 'select 1;;', 'select 1 /* for ever', 'select 1 limit 1 -- of one', 'select cast(name as integer) from kinds order by id', 'select k.flag as a, l.doc as a, k.id as a from kinds k join kinds l on k.id = l.id order by k.id',
    'select k.flag as a, l.doc as "a:1", k.id as a from kinds k join kinds l on k.id = l.id order by k.id',
  ] // prettier-ignore
  if (dialect === 'postgresql')
    return [
      ...both,
      'select',
      'table kinds',
      'select from kinds',
      'select k.*::text from kinds k',
      'show work_mem',
      'explain select 1',
    ]
  return [
    ...both, ';select 1', 'select * from twins', 'select id, "id:1" from twins', 'select * from loose order by id', 'select "flag:1", flag from loose order by id', 'select flag, "flag:1", flag from loose',
    'select any_one, flag as any_one from loose', 'select * from loose a join loose b on a.id = b.id', 'select *, rowid from loose', 'select *, * from loose', 'select 1 as ""', 'select true, false, null, 1',
    'select sum(big) from giants', 'select id, case id when 4 then abs(-9223372036854775807 - 1) end as x from giants order by id', 'select json(name) from kinds order by id', 'select key, value, type, atom from json_each(\'{"a":1,"b":[true]}\')',
    'select name, type from pragma_table_info(\'kinds\')', 'pragma table_info(kinds)', 'pragma user_version', 'pragma nothing_known', 'explain query plan select * from kinds', 'select name from sqlite_schema order by name',
    'select [id] as [a b], `flag` from kinds', "select 'id' as 'quoted' from kinds", 'select "no such column" from kinds', 'select id, max(flag) from kinds', 'select flag, max(id) from kinds',
    'select * from kinds k natural join same l', 'select k.flag from kinds k where k.id = 1 union all select 1 union all select 7', 'select 7 union all select flag from kinds where id = 1',
    'select 1.5 as r union all select 9007199254740993', 'values (1.5), (9007199254740993)', 'select part from kinds where id = 1 union select 9007199254740993', 'with recursive c (n) as (select 1 union all select n * 3 from c where n < 1e17) select n from c',
    'select cast(big as real) from giants', 'select cast(part as integer) from giants', 'select big || \'\' from giants', 'select * from giants where big = 9007199254740993', 'select group_concat(id) from kinds',
    'with recursive c (n) as (select 1 union all select n + 1 from c where n < 6000) select n, zeroblob(300) as z from c', 'with recursive c (n) as (select 1 union all select n + 1 from c where n < 5400) select case n when 5300 then 9007199254740993 else n end as n from c',
    'with recursive c (n) as (select 1 union all select n + 1 from c where n < 5400) select case n when 5300 then abs(-9223372036854775807 - (n > 1)) else n end as n from c',
  ] // prettier-ignore
}
