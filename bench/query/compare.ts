/** Times ways to do the same against the first of them, in interleaved rounds. */
import { spread, type Spread } from '../spread'

export interface Way {
  readonly name: string
  /** Does it once. */
  readonly run: (index: number) => Promise<unknown>
}

export interface Compared {
  readonly name: string
  /** Time for one, at its least. */
  readonly micros: number
  /** Time as a multiple of what the first way took in the same round. */
  readonly ratio: Spread
  /** Processor time of this process for one, at its least. */
  readonly cpuMicros: number
}

export interface Extent {
  readonly rounds: number
  /** How long each way runs in each round. */
  readonly millis: number
  /** How many at once. */
  readonly concurrency: number
}

export async function compare(ways: readonly Way[], extent: Extent): Promise<Compared[]> {
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
  }))
}

/** Microseconds for one. */
interface Time {
  readonly micros: number
  readonly cpuMicros: number
}

async function timeOne({ run }: Way, { millis, concurrency }: Extent): Promise<Time> {
  let count = 0
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
  return { micros, cpuMicros: (user + system) / count }
}
