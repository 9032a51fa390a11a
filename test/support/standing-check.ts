/** The standing check after every test: no connection in use, no transaction open, no server listening. */
import { Server } from 'node:net'
import type { Database } from '../../src/database'
import type { Scratch } from './scratch'
import { waitFor } from './wait-for'

/** A release or a close may still be running when a test's last line has run; a leak stays. */
const PATIENCE_MILLIS = 2_000

/** Registers the part of the standing check for tests without a database: no server is left listening. */
export function standingCheck(): void {
  afterEach(async () => {
    failWith(await listening(PATIENCE_MILLIS))
  })
}

/** Throws the problems as one error, if there are any. */
export function failWith(problems: readonly string[]): void {
  if (problems.length > 0) throw new Error(`This test left something behind:\n- ${problems.join('\n- ')}`)
}

export interface Borders {
  readonly scratch: Scratch
  /** The URLs of the test's scratch databases. */
  readonly urls: readonly string[]
  /** Every Database the test opened; they are disconnected by the check. */
  readonly databases: readonly Database[]
}

/** Looks for whatever a test left behind, disconnects its Databases, and returns a line for each problem. */
export async function leftBehind(
  { scratch, urls, databases }: Borders,
  patienceMillis = PATIENCE_MILLIS,
): Promise<string[]> {
  const problems: string[] = []
  const expectNone = async (what: string, look: () => string[] | Promise<string[]>): Promise<void> => {
    problems.push(...(await remaining(look, patienceMillis)).map((one) => `${what}: ${one}`))
  }

  for (const database of databases) await expectNone(`${database.name} has lent out`, () => lent(database))
  for (const url of urls) await expectNone('an open transaction', () => scratch.openTransactions(url))
  for (const database of databases) await database.disconnect({ graceMillis: patienceMillis })
  for (const url of urls) {
    const before = problems.length
    await expectNone('a connection after disconnect()', () => scratch.connections(url))
    if (problems.length > before) await scratch.closeConnections(url)
  }
  problems.push(...(await listening(patienceMillis)))
  return problems
}

function lent(database: Database): string[] {
  const holders = database.holders().map((holder) => JSON.stringify(holder))
  const { used } = database.stats()
  return holders.length === used ? holders : [...holders, `${used} connections by stats().used`]
}

async function listening(patienceMillis: number): Promise<string[]> {
  const servers = (): string[] => process.getActiveResourcesInfo().filter((name) => name === 'TCPServerWrap')
  const found = await remaining(servers, patienceMillis)
  if (found.length > 0) closeServers()
  return found.map(() => 'a server that listens')
}

/** Closes leaked servers, so that only one test fails for each, and jest can end. */
function closeServers(): void {
  // Undocumented, but the only way to a handle that the test did not keep.
  const { _getActiveHandles: handles } = process as { _getActiveHandles?: () => unknown[] }
  for (const handle of handles?.call(process) ?? []) if (handle instanceof Server) handle.close()
}

/** What `look` still finds after `timeoutMillis`; empty as soon as it finds nothing. */
async function remaining(look: () => string[] | Promise<string[]>, timeoutMillis: number): Promise<string[]> {
  let found: string[] = []
  try {
    await waitFor(async () => (found = await look()).length === 0, { timeoutMillis })
    return []
  } catch (error) {
    return found.length > 0 ? found : [String(error)]
  }
}
