/** A histogram of prom-client that is cheap to add to. */
import { Histogram, type HistogramConfiguration } from 'prom-client'

type Labels = Readonly<Record<string, string>>
type Answer = Awaited<ReturnType<Histogram['get']>>

/** One combination of labels. */
export class Series {
  readonly counts: number[]
  sum = 0

  constructor(
    readonly labels: Labels,
    readonly bounds: readonly number[],
  ) {
    this.counts = Array.from({ length: bounds.length + 1 }, () => 0)
  }

  observe(seconds: number): void {
    let at = 0
    while (seconds > (this.bounds[at] ?? Infinity)) at += 1
    this.counts[at] = (this.counts[at] ?? 0) + 1
    this.sum += seconds
  }
}

/**
 * prom-client's own puts a text together of all labels at each observation, to find its series by: 8 µs, measured
 * between the statements of an application. Here the series is at hand, and told to prom-client only when it is asked.
 */
export class Times extends Histogram {
  readonly #configuration: HistogramConfiguration<string> & { readonly buckets: readonly number[] }
  readonly #all: Series[] = []

  constructor(configuration: HistogramConfiguration<string> & { readonly buckets: number[] }) {
    super(configuration)
    this.#configuration = configuration
  }

  /** Made once for these labels, and then kept by the caller. */
  series(labels: Labels): Series {
    const series = new Series(labels, this.#configuration.buckets)
    this.#all.push(series)
    return series
  }

  override async get(): Promise<Answer> {
    const { help, name } = this.#configuration
    const values = this.#all.flatMap(({ bounds, counts, labels, sum }) => {
      let count = 0
      const buckets = counts.map((one, index) => {
        count += one
        return {
          metricName: `${name}_bucket`,
          labels: { le: bounds[index] ?? '+Inf', ...labels },
          value: count,
        }
      })
      return [
        ...buckets,
        { metricName: `${name}_sum`, labels, value: sum },
        { metricName: `${name}_count`, labels, value: count },
      ]
    })
    return { name, help, type: 'histogram', aggregator: 'sum', values } as unknown as Answer
  }

  /** What a Registry prefers to `get()`, where it is there. */
  getForPromString(): Promise<Answer> {
    return this.get()
  }
}
