/** The tables of the database, as `millpond types` has read them. Not to be edited: run it again after a migration. */

// prettier-ignore
import type { Knex } from 'knex'

// prettier-ignore
export interface Tables {
  products: Knex.CompositeTableType<
    {
      created_at: Date | string
      description: string | null
      id: number
      name: string
      price: number | string
    },
    {
      created_at?: Date | string
      description?: string | null
      id?: number
      name: string
      price: bigint | number | string
    }
  >
}

/** A row of a table, as a query returns it. */
// prettier-ignore
export type Row<Name extends keyof Tables> = Knex.ResolveTableType<Tables[Name]>

/** A row of a table, as it may be inserted. */
// prettier-ignore
export type NewRow<Name extends keyof Tables> = Knex.ResolveTableType<Tables[Name], 'insert'>
