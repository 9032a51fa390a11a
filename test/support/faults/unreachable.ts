/** The database cannot be reached, for each of the reasons that a program meets. */
import { freePort } from '../free-port'
import { startStartingPostgres } from '../starting-postgres'
import { startProxy } from '../tcp-proxy'
import { waitFor } from '../wait-for'
import { inTime } from './in-time'
import { withAuditor } from './ledger'
import { type Candidate, classOf, codeOf } from './subject'

/** For a connection, and for the whole of what connects. */
export const DEADLINE_MILLIS = 1000
const PATIENCE_MILLIS = 5000

export const REASONS = [
  'swallows packets',
  'refuses',
  'wrong password',
  'missing database',
  'starting up',
] as const
export type Reason = (typeof REASONS)[number]

/** What a message must say for its reader to know what is wrong. */
const REAL_CAUSE: Readonly<Record<Reason, RegExp>> = {
  'swallows packets': /does not answer|did not answer|unreachable|connection (?:attempt )?timed out/i,
  refuses: /ECONNREFUSED|nothing listens/i,
  'wrong password': /password/i,
  'missing database': /"no_such_database" does not exist/i,
  'starting up': /starting up/i,
}

export interface Unreachable {
  readonly error: string
  readonly code: string
  readonly millis: number
  /** 1 when the message names the real cause. */
  readonly namesCause: number
}

/** @param url of a server of which pg_hba.conf may be changed */
export async function unreachable(candidate: Candidate, url: string, reason: Reason): Promise<Unreachable> {
  const place = await PLACES[reason](url)
  try {
    const { error, tookMillis } = await inTime(PATIENCE_MILLIS, readOnce(candidate, place.url))
    return {
      error: error === undefined ? 'none' : classOf(error),
      code: codeOf(error),
      millis: tookMillis,
      namesCause: error instanceof Error && REAL_CAUSE[reason].test(error.message) ? 1 : 0,
    }
  } finally {
    await place.leave?.()
  }
}

async function readOnce(candidate: Candidate, url: string): Promise<void> {
  const subject = await candidate.open(url, { acquireTimeoutMillis: DEADLINE_MILLIS })
  try {
    await subject.read(1)
  } finally {
    // Only the error matters, not how long the pool takes to close after it.
    void inTime(PATIENCE_MILLIS, subject.close(0))
  }
}

interface Place {
  readonly url: string
  leave?(this: void): Promise<void>
}

const PLACES: Readonly<Record<Reason, (serverUrl: string) => Promise<Place>>> = {
  async 'swallows packets'(serverUrl) {
    const proxy = await startProxy(serverUrl)
    proxy.blackhole()
    return { url: proxy.url, leave: () => proxy.close() }
  },
  refuses: async (serverUrl) => placeBeside(serverUrl, { port: String(await freePort()) }),
  async 'wrong password'(serverUrl) {
    await requirePassword(serverUrl)
    return placeBeside(serverUrl, { username: 'careful', password: 'wrong' })
  },
  'missing database': async (serverUrl) => placeBeside(serverUrl, { pathname: '/no_such_database' }),
  async 'starting up'() {
    const server = await startStartingPostgres()
    return { url: server.url, leave: () => server.close() }
  },
}

function placeBeside(
  url: string,
  parts: Partial<Record<'port' | 'username' | 'password' | 'pathname', string>>,
): Place {
  return { url: Object.assign(new URL(url), parts).href }
}

/** Makes a role that needs a password; the others go on without. */
async function requirePassword(url: string): Promise<void> {
  await withAuditor(url, async (client) => {
    await client.query(`drop role if exists careful; create role careful login password 'right'`)
    const { rows } = await client.query<{ hba_file: string }>('show hba_file')
    await client.query(`copy (values
      ('host all careful 127.0.0.1/32 scram-sha-256'), ('host all all 127.0.0.1/32 trust')
    ) to '${rows[0]?.hba_file}'`)
    await client.query('select pg_reload_conf()')
    // A little later it is so: until then, no password is asked for.
    const careful = placeBeside(url, { username: 'careful' })
    await waitFor(() => isRefused(careful.url), { what: 'a password to be asked for' })
  })
}

function isRefused(url: string): Promise<boolean> {
  return withAuditor(url, () => Promise.resolve()).then(
    () => false,
    () => true,
  )
}
