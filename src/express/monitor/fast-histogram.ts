/** A histogram of prom-client with cheap observations. */
import { Histogram, type HistogramConfiguration } from 'prom-client'

type Labels = Readonly<Record<string, string>>
type MetricValues = Awaited<ReturnType<Histogram['get']>>

/** The observations of one combination of labels. */
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
 * Lets the caller keep the series of its labels. prom-client's own histogram builds a key of all labels at each observation
 * to find the series, which took 8 µs, measured between the statements of an application.
 */
export class FastHistogram extends Histogram {
  readonly #configuration: HistogramConfiguration<string> & { readonly buckets: readonly number[] }
  readonly #all: Series[] = []

  constructor(configuration: HistogramConfiguration<string> & { readonly buckets: number[] }) {
    super(configuration)
    this.#configuration = configuration
  }

  /** Makes the series for these labels, once; the caller keeps it. */
  series(labels: Labels): Series {
    const series = new Series(labels, this.#configuration.buckets)
    this.#all.push(series)
    return series
  }

  override async get(): Promise<MetricValues> {
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
    return { name, help, type: 'histogram', aggregator: 'sum', values } as unknown as MetricValues
  }

  /** A Registry calls this method instead of `get()` if it exists. */
  getForPromString(): Promise<MetricValues> {
    return this.get()
  }
}
