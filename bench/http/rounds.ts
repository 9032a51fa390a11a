/** Measures stacks in interleaved rounds, so that what slows the machine down for a while slows all of them down. */
import { ENDPOINTS, type Endpoint } from './endpoints'
import { load } from './load'
import type { Place } from './prepare'
import { childrenMicros, cpuMicros, machineMicros, residentMegabytes } from './process-usage'
import type { Server } from './server-process'

/** One window of load on one stack. */
export interface Window {
  readonly stack: string
  readonly endpoint: string
  readonly concurrency: number
  readonly round: number
  readonly perSecond: number
  readonly p50Millis: number
  readonly p99Millis: number
  /** Processor time of the server for one request, in microseconds. */
  readonly serverMicros: number
  /** The same of PostgreSQL. */
  readonly postgresMicros: number
  readonly megabytes: number
  readonly failures: number
  /** Processors that were kept busy by others than the server, PostgreSQL and the load generator. */
  readonly foreign: number
}

export interface Plan {
  readonly endpoints: readonly Endpoint[]
  readonly concurrencies: readonly number[]
  readonly rounds: number
  readonly windowMillis: number
  readonly warmUpMillis: number
}

/** Loads each server with all endpoints, so that none is measured before its code has been compiled. */
export async function warmUp(servers: readonly Server[], { warmUpMillis }: Plan): Promise<void> {
  for (const { port } of servers) {
    // One after the other and all over again: what is compiled for one endpoint only would be fast for one only.
    for (let turn = 0; turn < 2; turn += 1) {
      for (const { requests } of ENDPOINTS) {
        const next = requests(Math.random)
        await load({ port, concurrency: 64, millis: warmUpMillis / 2 / ENDPOINTS.length, next })
      }
    }
  }
}

/** Measures each endpoint at each concurrency on each server, and all of that in each round. */
export async function* measure(servers: readonly Server[], plan: Plan, place: Place): AsyncGenerator<Window> {
  for (let round = 0; round < plan.rounds; round += 1) {
    for (const endpoint of plan.endpoints) {
      for (const concurrency of plan.concurrencies) {
        // Turned around each time, so that whoever comes after a heavy one is not always the same.
        const order = round % 2 === 0 ? servers : servers.toReversed()
        for (const server of order) {
          yield await measureOne(server, { endpoint, concurrency, round }, plan, place)
        }
      }
    }
  }
}

interface Cell {
  readonly endpoint: Endpoint
  readonly concurrency: number
  readonly round: number
}

async function measureOne(
  { stack, port, pid }: Server,
  { endpoint, concurrency, round }: Cell,
  { windowMillis }: Plan,
  { postgresPid }: Place,
): Promise<Window> {
  const usage = () => ({
    server: cpuMicros(pid),
    postgres: postgresPid === null ? 0 : childrenMicros(postgresPid),
    self: cpuMicros(process.pid),
    machine: machineMicros(),
  })
  let before = usage()
  let after = before
  const { answers, failures, latencies, seconds } = await load(
    { port, concurrency, millis: windowMillis, next: endpoint.requests(Math.random) },
    () => (before = usage()),
    () => (after = usage()),
  )
  const server = after.server - before.server
  const postgres = after.postgres - before.postgres
  const ours = server + postgres + after.self - before.self
  return {
    stack: stack.id,
    endpoint: endpoint.id,
    concurrency,
    round,
    perSecond: answers / seconds,
    p50Millis: latencies[Math.floor(answers * 0.5)] ?? NaN,
    p99Millis: latencies[Math.floor(answers * 0.99)] ?? NaN,
    serverMicros: server / answers,
    postgresMicros: postgres / answers,
    megabytes: residentMegabytes(pid),
    failures,
    foreign: (after.machine - before.machine - ours) / 1e6 / seconds,
  }
}
