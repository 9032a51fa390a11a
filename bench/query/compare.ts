/** Times ways to do the same against the first of them, in interleaved rounds. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { spread, type Spread } from '../spread'

export interface Way {
  readonly name: string
  /** Does it once. */
  readonly run: (index: number) => Promise<unknown>
}

export interface Group {
  readonly title: string
  readonly ways: readonly Way[]
}

export interface Compared {
  readonly name: string
  /** Time for one, at its least. */
  readonly micros: number
  /** Time as a multiple of what the first way took in the same round. */
  readonly ratio: Spread
  /** Processor time of this process for one, at its least. */
  readonly cpuMicros: number
  /** For how long the event loop was held up, at the 99th percentile of a round: the least of all rounds. */
  readonly loopMillis: number
}

export interface ComparedGroup {
  readonly title: string
  readonly compared: readonly Compared[]
}

export interface Extent {
  readonly rounds: number
  /** How long each way runs in each round. */
  readonly millis: number
  /** How many at once. */
  readonly concurrency: number
}

export async function compareAll(groups: readonly Group[], extent: Extent): Promise<ComparedGroup[]> {
  const results: ComparedGroup[] = []
  for (const { title, ways } of groups) results.push({ title, compared: await compare(ways, extent) })
  return results
}

async function compare(ways: readonly Way[], extent: Extent): Promise<Compared[]> {
  // Two rounds go uncounted, in which code gets compiled and connections opened.
  for (const way of [...ways, ...ways]) await timeOne(way, extent)
  const times = new Map(ways.map((way) => [way, [] as Time[]]))
  for (let round = 0; round < extent.rounds; round += 1) {
    for (const way of round % 2 === 0 ? ways : ways.toReversed()) {
      times.get(way)?.push(await timeOne(way, extent))
    }
  }
  const [base = []] = [...times.values()]
  return [...times].map(([{ name }, own]) => ({
    name,
    micros: Math.min(...own.map(({ micros }) => micros)),
    ratio: spread(own.map(({ micros }, round) => micros / (base[round]?.micros ?? NaN))),
    cpuMicros: Math.min(...own.map(({ cpuMicros }) => cpuMicros)),
    loopMillis: Math.min(...own.map(({ loopMillis }) => loopMillis)),
  }))
}

/** Microseconds for one, and how long the event loop was held up. */
interface Time {
  readonly micros: number
  readonly cpuMicros: number
  readonly loopMillis: number
}

/** How often it is looked whether the event loop is held up. */
const RESOLUTION_MILLIS = 5

async function timeOne({ run }: Way, { millis, concurrency }: Extent): Promise<Time> {
  let count = 0
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MILLIS })
  delay.enable()
  const before = process.cpuUsage()
  const since = performance.now()
  const work = async () => {
    while (performance.now() - since < millis) {
      count += 1
      await run(count)
    }
  }
  await Promise.all(Array.from({ length: concurrency }, work))
  const micros = ((performance.now() - since) / count) * 1000
  const { user, system } = process.cpuUsage(before)
  delay.disable()
  const loopMillis = Math.max(0, delay.percentile(99) / 1e6 - RESOLUTION_MILLIS)
  return { micros, cpuMicros: (user + system) / count, loopMillis }
}
