/** The tables of a Database, as its type parameter declares them. */
import type { Knex } from 'knex'
import type { WholeRows } from './query/inferred-rows'

/** The tables that are declared once for all of Knex, in `declare module 'knex/types/tables'`. */
type KnexTables = { [Name in Knex.TableNames]: Knex.TableType<Name> }

/** `any` stands for a Database without tables of its own. */
type TablesOf<Tables> = 0 extends 1 & Tables ? KnexTables : Tables

/** What table() takes: a table's name, also with an alias, as in `users as u`; any text where no tables are declared. */
export type TableName<Tables> = [keyof TablesOf<Tables>] extends [never]
  ? string
  : WithAlias<keyof TablesOf<Tables> & string>

type WithAlias<Name extends string> = Name | `${Name} as ${string}`

/** The builder of a table. */
export type TableBuilder<Tables, Name> = Name extends keyof TablesOf<Tables>
  ? BuilderOf<TablesOf<Tables>[Name]>
  : Name extends `${infer Source} as ${string}`
    ? TableBuilder<Tables, Source>
    : Knex.QueryBuilder

type BuilderOf<Table> = Table extends object
  ? Knex.QueryBuilder<Table, WholeRows<Knex.ResolveTableType<Table>>>
  : Knex.QueryBuilder
