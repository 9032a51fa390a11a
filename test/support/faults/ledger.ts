/** The tables that subjects write to, and what an auditor finds in them: by a plain client, beside any pool. */
import { Client } from 'pg'
import type { Load } from './load'

export const ACCOUNTS = 100
const OPENING_BALANCE = 1000
const AUDITOR = 'fault-auditor'

/** Backends of the subject. */
export const BACKENDS = `
  select pid from pg_stat_activity
  where datname = current_database() and backend_type = 'client backend' and application_name <> '${AUDITOR}'`

/** Runs work with a connection of its own. */
export async function withAuditor<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url, application_name: AUDITOR })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

/** Makes the tables, or empties them. */
export function openLedger(url: string): Promise<void> {
  return withAuditor(url, async (client) => {
    await client.query(`
      drop table if exists accounts, entries;
      create table accounts (id integer primary key, balance bigint not null);
      -- No key: an entry that is made twice shall be seen.
      create table entries (id integer not null);
      insert into accounts select n, ${OPENING_BALANCE} from generate_series(1, ${ACCOUNTS}) as n`)
  })
}

/** What became of the writes of a load. */
export interface Audit {
  /** Acknowledged, but not there. */
  readonly lost: number
  readonly appliedTwice: number
  /** Reported as failed, but there. */
  readonly failedButApplied: number
  /** By how much the sum of all balances has changed. */
  readonly moneyMadeOrLost: number
}

export function audit(url: string, load: Load): Promise<Audit> {
  return withAuditor(url, async (client) => {
    const { rows: entries } = await client.query<{ id: number; times: number }>(
      'select id, count(*)::integer as times from entries group by id',
    )
    const { rows: sums } = await client.query<{ sum: string }>('select sum(balance) from accounts')
    const there = new Map(entries.map(({ id, times }) => [id, times]))
    return {
      lost: load.acknowledged.filter((id) => !there.has(id)).length,
      appliedTwice: entries.filter(({ times }) => times > 1).length,
      failedButApplied: load.refused.filter((id) => there.has(id)).length,
      moneyMadeOrLost: Math.abs(Number(sums[0]?.sum) - ACCOUNTS * OPENING_BALANCE),
    }
  })
}

/** How many backends the subject has, or how many of them are in one of these states. */
export function countBackends(url: string, states?: readonly string[]): Promise<number> {
  return withAuditor(url, async (client) => {
    const { rows } = await client.query(`${BACKENDS} and ($1::text[] is null or state = any ($1))`, [
      states ?? null,
    ])
    return rows.length
  })
}
