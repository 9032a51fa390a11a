/** A thousand HTTP clients disconnect at random moments: nothing of theirs stays, and a concurrent reader is hardly delayed. */
import { Agent, get } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { within } from '../support/exact'
import type { DesertedScript, DesertedState } from '../support/faults/deserted-script'
import type { LeavingScript } from '../support/faults/leaving-script'
import { countBackends, withAuditor } from '../support/faults/ledger'
import { ScriptProcess } from '../support/faults/script-process'
import { freePort } from '../support/free-port'
import { report } from '../support/report'
import { waitFor } from '../support/wait-for'
import { describeFault } from './support'

const CLIENTS = 1000
/**
 * How many clients disconnect in a second. For exact times it is a rate that the machine can sustain, since PostgreSQL
 * starts a process for each cancel request.
 */
const COME_WITHIN_MILLIS = within(90_000, 6000)
const LEAVE_WITHIN_MILLIS = 250
const BUSY = ['active', 'idle in transaction', 'idle in transaction (aborted)']
const READER_PAUSE_MILLIS = 5
const WARM_UP_MILLIS = 2000
const QUIET_MILLIS = 3000

/** The quantile `share` of the values. */
function quantile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] ?? NaN
}

/** Sends one request after another until `until` settles; returns the milliseconds of each. */
async function readUntil(until: Promise<unknown>, url: string): Promise<number[]> {
  const agent = new Agent({ keepAlive: true })
  const over = new AbortController()
  void until.finally(() => over.abort())
  const times: number[] = []
  while (!over.signal.aborted) {
    const began = performance.now()
    await new Promise((resolve, reject) => {
      get(url, { agent }, (answer) => answer.resume().on('end', resolve)).on('error', reject)
    })
    times.push(performance.now() - began)
    await delay(READER_PAUSE_MILLIS)
  }
  agent.destroy()
  return times
}

async function ask<T>(url: string): Promise<T> {
  return (await (await fetch(url)).json()) as T
}

// Server, clients and reader have a process each, so that only the server is measured.
describeFault('a thousand clients that disconnect', (server) => {
  jest.setTimeout(3 * COME_WITHIN_MILLIS + 60_000)
  let deserted: ScriptProcess
  let url: string

  beforeEach(async () => {
    await withAuditor(server().url, (client) => client.query('create table gone (kind text not null)'))
    const script: DesertedScript = { url: server().url, port: await freePort() }
    deserted = new ScriptProcess('deserted-script.ts', script)
    url = await deserted.line(0)
  })
  afterEach(() => deserted[Symbol.asyncDispose]())

  it('leave nothing behind, and the pool keeps all its connections', async () => {
    const live = `${url}/live`
    // The first requests of a process are slow.
    await readUntil(delay(WARM_UP_MILLIS), live)
    const quiet = await readUntil(delay(QUIET_MILLIS), live)

    const crowd: LeavingScript = {
      url,
      clients: CLIENTS,
      comeWithinMillis: COME_WITHIN_MILLIS,
      leaveWithinMillis: LEAVE_WITHIN_MILLIS,
    }
    await using leaving = new ScriptProcess('leaving-script.ts', crowd)
    const beside = await readUntil(leaving.line(0, 2 * COME_WITHIN_MILLIS + 60_000), live)
    const gone = performance.now()
    const state = (): Promise<DesertedState> => ask(`${url}/state`)
    await waitFor(
      async () => {
        const { used, waiting } = await state()
        return used + waiting + (await countBackends(server().url, BUSY)) === 0
      },
      { what: 'everything to be released', timeoutMillis: within(1000, 40_000) },
    )
    const tookMillis = performance.now() - gone

    const { created, ...left } = await state()
    report('clients gone', {
      clients: CLIENTS,
      'connections opened': created,
      'all back after ms': tookMillis,
      'quiet reads': quiet.length,
      'quiet p50 in ms': quantile(quiet, 0.5),
      'quiet p99 in ms': quantile(quiet, 0.99),
      'reads beside': beside.length,
      'p50 beside in ms': quantile(beside, 0.5),
      'p99 beside in ms': quantile(beside, 0.99),
    })
    expect(left).toEqual({ used: 0, waiting: 0, unexpected: [] })
    const { rows } = await withAuditor(server().url, (client) => client.query('select kind from gone'))
    expect(rows).toEqual([])
    expect(await ask(`${url}/whole`)).toBeGreaterThan(0)
    await waitFor(async () => (await state()).used === 0)
    expect(quantile(beside, 0.99) / quantile(quiet, 0.99)).toBeLessThanOrEqual(within(2, 200))
  })
})
