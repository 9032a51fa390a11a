/** How long something took of late, as percentiles. */
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks'

export interface Percentiles {
  readonly count: number
  readonly p50Millis: number
  readonly p95Millis: number
  readonly p99Millis: number
  readonly maxMillis: number
}

/** Two figures: 1 % off at most, in a hundredth of the memory of three. */
const PRECISION = { lowest: 1, highest: 3_600_000_000, figures: 2 } as const

const PART_MILLIS = 60_000
const PARTS = 5

/** Forgets what is older than five minutes, a minute at a time. It is asked for the time, so that it needs no timer. */
export class RecentTimes {
  #parts: { readonly since: number; readonly histogram: RecordableHistogram }[] = []

  record(millis: number): void {
    const micros = Math.min(Math.max(1, Math.round(millis * 1000)), PRECISION.highest)
    this.#current().record(micros)
  }

  percentiles(): Percentiles {
    this.#forget()
    const all = createHistogram(PRECISION)
    for (const { histogram } of this.#parts) all.add(histogram)
    if (all.count === 0) return { count: 0, p50Millis: 0, p95Millis: 0, p99Millis: 0, maxMillis: 0 }
    return {
      count: all.count,
      p50Millis: all.percentile(50) / 1000,
      p95Millis: all.percentile(95) / 1000,
      p99Millis: all.percentile(99) / 1000,
      maxMillis: all.max / 1000,
    }
  }

  #current(): RecordableHistogram {
    const last = this.#parts.at(-1)
    if (last !== undefined && performance.now() - last.since < PART_MILLIS) return last.histogram
    this.#forget()
    const histogram = createHistogram(PRECISION)
    this.#parts.push({ since: performance.now(), histogram })
    return histogram
  }

  #forget(): void {
    const oldest = performance.now() - PARTS * PART_MILLIS
    this.#parts = this.#parts.filter(({ since }) => since > oldest)
  }
}
