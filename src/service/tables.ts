/** The tables of the database, as `millpond types` has read them. Not to be edited: run it again after a migration. */

// prettier-ignore
import type { Knex } from 'knex'

// prettier-ignore
export interface Tables {
  accounts: Knex.CompositeTableType<
    {
      balance: number | string
      created_at: Date | string
      id: number
      opening_balance: number | string
      owner: string
    },
    {
      balance?: bigint | number | string
      created_at?: Date | string
      id?: number
      opening_balance?: bigint | number | string
      owner: string
    }
  >
  idempotency_keys: Knex.CompositeTableType<
    {
      created_at: Date | string
      detail: string
      key: string
      request: string
      status: number
    },
    {
      created_at?: Date | string
      detail: string
      key: string
      request: string
      status: number
    }
  >
  posts: Knex.CompositeTableType<
    {
      author_id: number
      content: string
      created_at: Date | string
      id: number
      title: string
    },
    {
      author_id: number
      content: string
      created_at?: Date | string
      id?: number
      title: string
    }
  >
  transfers: Knex.CompositeTableType<
    {
      amount: number | string
      created_at: Date | string
      from_account: number
      id: number | string
      to_account: number
    },
    {
      amount: bigint | number | string
      created_at?: Date | string
      from_account: number
      id?: bigint | number | string
      to_account: number
    }
  >
  users: Knex.CompositeTableType<
    {
      created_at: Date | string
      email: string
      id: number
      username: string
    },
    {
      created_at?: Date | string
      email: string
      id?: number
      username: string
    }
  >
}

/** A row of a table, as a query returns it. */
// prettier-ignore
export type Row<Name extends keyof Tables> = Knex.ResolveTableType<Tables[Name]>

/** A row of a table, as it may be inserted. */
// prettier-ignore
export type NewRow<Name extends keyof Tables> = Knex.ResolveTableType<Tables[Name], 'insert'>
