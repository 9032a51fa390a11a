/** The rows of a query, as far as its type tells: a Knex builder carries its table, and the columns that it selects. */
import type { Knex } from 'knex'
import type { Values, TypedSqlQuery } from '../sql/sql-tag'

/**
 * What a builder selects: Knex's `DeferredKeySelection`, which it does not export. Tried with Knex 3.3.
 *
 * Knex makes `any` of a selection with `*`, with a qualified name, with `name as alias`, or with a name that is no column.
 * Here the first three are understood, and the last is refused.
 */
type Selection<Base, Keys, HasKeys, Aliases, Single, Computed, Union> = {
  _base: Base
  _hasSelection: HasKeys
  _keys: Keys
  _aliases: Aliases
  _single: Single
  _intersectProps: Computed
  _unionProps: Union
}

// oxlint-disable-next-line typescript/no-explicit-any -- any selection at all
type AnySelection = Selection<any, any, any, any, any, any, any>

/** The result of a builder that selects nothing yet: whole rows. */
export type WholeRows<Table> = Selection<Table, never, false, Empty, false, Empty, never>[]

// oxlint-disable-next-line typescript/no-generated-empty-object-type -- as Knex has it
type Empty = Record<never, never>

/** The row of a query: that of a typed builder or of a schema, else the one that the caller claims. */
export type RowOf<Q, Claimed> =
  Q extends Knex.QueryBuilder<infer Table, infer Result>
    ? BuilderRow<Table, MemberOf<Result>, Claimed>
    : Q extends TypedSqlQuery<infer T>
      ? T
      : Q extends Knex.Raw<infer Result>
        ? RawRow<Result, Claimed>
        : Claimed

/** What fetchVal() gives for a query: the value of `Column` in a typed builder's row, that of a schema, else a claimed one. */
export type ValueOf<Q, Claimed, Column> =
  Q extends Knex.QueryBuilder<infer Table, infer Result>
    ? IsPlucked<Table, MemberOf<Result>> extends true
      ? MemberOf<Result>
      : ColumnValue<BuilderRow<Table, MemberOf<Result>, never>, Claimed, Column>
    : Q extends TypedSqlQuery<infer T>
      ? T
      : Claimed

type ColumnValue<Row, Claimed, Column> = [Row] extends [never]
  ? Claimed
  : unknown extends Row[keyof Row]
    ? Claimed
    : Row[Column extends keyof Row ? Column : keyof Row]

/** What fetchVal() takes as `column`: a name that the row has, or an index. */
export type ColumnOf<Q> =
  number | (Q extends Knex.QueryBuilder ? TextKey<RowOf<Q, Record<string, unknown>>> : string)

type TextKey<Row> = string extends keyof Row ? string : keyof Row & string

/** A set of values for executeMany(): what an INSERT into a typed builder's table may give. */
export type ValuesFor<Q> =
  Q extends Knex.QueryBuilder<infer Table>
    ? IsKnown<Table> extends false
      ? Values
      : Table extends Knex.CompositeTableType<unknown>
        ? Readonly<Table['insert']>
        : Knex.DbRecord<Table>
    : Values

/** What a query must be besides a query: `unknown`, or for a builder that selects an unknown column, what never fits. */
export type KnownColumns<Q> =
  Q extends Knex.QueryBuilder<infer Table, infer Result>
    ? MemberOf<Result> extends Selection<infer Base, infer Keys, true, infer _A, infer _S, infer _C, infer _U>
      ? [UnknownKey<Keys, ColumnsOf<Table, Base>>] extends [never]
        ? unknown
        : `There is no column '${UnknownKey<Keys, ColumnsOf<Table, Base>>}'`
      : unknown
    : unknown

/** A column that a builder's query can be ordered by, selected or not; one that may be NULL says where NULLs go. */
export type OrderColumn<Q> =
  Q extends Knex.QueryBuilder<infer Table, infer Result>
    ? MemberOf<Result> extends Selection<
        infer Base,
        infer _K,
        infer _H,
        infer _A,
        infer _S,
        infer _C,
        infer _U
      >
      ? OrderColumnOf<ColumnsOf<Table, Base>>
      : OrderColumnOf<unknown>
    : never

type OrderColumnOf<Columns> =
  IsKnown<Columns> extends false
    ? string | OrderedBy<string>
    : | Qualified<Exclude<keyof Columns, NullableKey<Columns>>>
      | OrderedBy<Qualified<Exclude<keyof Columns, NullableKey<Columns>>>>
      | (OrderedBy<Qualified<NullableKey<Columns>>> & { readonly nulls: 'first' | 'last' })

type NullableKey<Columns> = {
  [Name in keyof Columns]: null extends Columns[Name] ? Name : never
}[keyof Columns]

interface OrderedBy<Name> {
  readonly column: Name
  /** Default: `asc`. */
  readonly order?: 'asc' | 'desc'
  readonly nulls?: 'first' | 'last'
}

type Qualified<Name> = Name extends string ? Name | `${string}.${Name}` : never

type UnknownKey<Keys, Columns> =
  IsKnown<Columns> extends false
    ? never
    : Keys extends string
      ? string extends Keys
        ? never
        : SourceOf<Keys> extends keyof Columns | '*' | CompositeKey
          ? never
          : Keys
      : never

/** The members of an array; of arrays of selections too, which Knex makes for `del(['id'])`. `first()` adds undefined. */
type MemberOf<Result> = Result extends readonly (infer Member)[]
  ? Member extends readonly (infer Nested extends AnySelection)[]
    ? Nested
    : Member
  : Exclude<Result, undefined>

type BuilderRow<Table, Member, Claimed> =
  IsKnown<Member> extends false
    ? Claimed
    : Member extends Selection<
          infer Base,
          infer Keys,
          infer HasKeys,
          infer Aliases,
          infer _S,
          infer Computed,
          infer _U
        >
      ? SelectedRow<ColumnsOf<Table, Base>, HasKeys, Keys, Aliases, Computed, Claimed>
      : IsPlucked<Table, Member> extends true
        ? Claimed
        : Member extends object
          ? RowOfTable<Member>
          : Claimed

type SelectedRow<Columns, HasKeys, Keys, Aliases, Computed, Claimed> =
  IsKnown<Columns> extends true
    ? HasKeys extends true
      ? Merged<Picked<Columns, Keys> & Renamed<Columns, Aliases> & ComputedColumns<Computed>>
      : Columns
    : IsAny<Columns> extends true
      ? Claimed
      : [Keys | keyof Aliases] extends [never] // `count()` and the like alone leave the table's columns out
        ? OnlyComputed<Computed, Claimed>
        : Claimed

type OnlyComputed<Computed, Claimed> = [keyof Computed] extends [never]
  ? Claimed
  : Merged<ComputedColumns<Computed>>

type Merged<T> = { [Name in keyof T]: T[Name] }

type Picked<Columns, Keys> = [Keys] extends [never]
  ? Empty
  : '*' extends SourceOf<Keys>
    ? Columns
    : [CompositeKey] extends [Keys]
      ? Columns
      : { [Key in Keys & string as NameOf<Key>]: ColumnType<Columns, SourceOf<Key>> }

type Renamed<Columns, Aliases> = Aliases extends Compilable
  ? Record<string, unknown>
  : { [Name in keyof Aliases]: ColumnType<Columns, SourceOf<Aliases[Name]>> }

/** The type of a raw piece or of a subquery, whose name Knex's types do not know. */
interface Compilable {
  toSQL(): unknown
}

/** Knex takes `count({ n: '*' })` for optional, for the sake of other databases. */
type ComputedColumns<Computed> = Computed extends object ? Required<Computed> : Record<string, unknown>

type ColumnType<Columns, Name> = Name extends keyof Columns ? Columns[Name] : unknown

/** `id` of `id`, `users.id` and `users.id as user`. */
type SourceOf<Key> = Key extends `${infer Source} as ${string}` ? Unqualified<Source> : Unqualified<Key>

/** `id` of `users.id`, `user` of `users.id as user`. */
type NameOf<Key> = Key extends `${string} as ${infer Name}` ? Name : Unqualified<Key>

type Unqualified<Key> = Key extends `${string}.${infer Rest}` ? Unqualified<Rest> : Key

/** The columns of a builder. Knex makes them all optional, and selects them all, where it does not know what it selects. */
type ColumnsOf<Table, Base> =
  IsKnown<Base> extends false
    ? Base
    : IsKnown<Table> extends false
      ? RowOfTable<Base>
      : Empty extends Base
        ? Partial<RowOfTable<Table>>
        : RowOfTable<Table>

type CompositeKey = keyof Knex.CompositeTableType<unknown>

/** The row of a table; joined to others, their rows too. */
type RowOfTable<Table> = CompositeKey extends keyof Table
  ? Table extends { base: infer Row }
    ? [Exclude<keyof Table, CompositeKey>] extends [never]
      ? Row
      : Row & Omit<Table, CompositeKey>
    : Table extends { base?: infer Row }
      ? Partial<Row>
      : never
  : Table

/** True for the result of `pluck('id')`, which has the type of a column. Run by a query method, its rows are objects. */
type IsPlucked<Table, Member> = [Member] extends [PluckableType<RowOfTable<Table>>] ? true : false

type PluckableType<Row> = {
  [Name in keyof Row]: unknown extends Row[Name] ? never : Row[Name]
}[keyof Row]

type RawRow<Result, Claimed> =
  IsAny<Result> extends true
    ? Claimed
    : Result extends readonly (infer Row extends object)[]
      ? IsKnown<Row> extends true
        ? Row
        : Claimed
      : Claimed

type IsAny<T> = 0 extends 1 & T ? true : false

/** False for `any`, for `unknown`, and for an object of which no property is known. */
type IsKnown<T> =
  IsAny<T> extends true
    ? false
    : unknown extends T
      ? false
      : T extends object
        ? string extends keyof T
          ? false
          : [keyof T] extends [never]
            ? false
            : true
        : true
