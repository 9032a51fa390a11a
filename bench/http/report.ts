/** The figures of the endpoints as tables of Markdown. */
import { ENDPOINTS } from './endpoints'
import { inWords } from '../spread'
import { table } from '../table'
import { type Figures, figuresOf } from './figures'
import type { Window } from './rounds'

/** The stacks against which the others are shown, where they take part. */
const BASES = ['N1', 'N3', 'N4', 'N5b', 'P2']

/** A table for each endpoint and concurrency that there are windows of. */
export function reportWindows(windows: readonly Window[]): string {
  const bases = BASES.filter((base) => windows.some(({ stack }) => stack === base))
  const concurrencies = [...new Set(windows.map(({ concurrency }) => concurrency))]
  return ENDPOINTS.flatMap(({ id, title }) =>
    concurrencies.flatMap((concurrency) => {
      const of = windows.filter((window) => window.endpoint === id && window.concurrency === concurrency)
      return of.length === 0 ? [] : [`### ${title}, ${concurrency} at a time\n\n${compared(of, bases)}`]
    }),
  ).join('\n\n')
}

function compared(windows: readonly Window[], bases: readonly string[]): string {
  const head = [
    'stack',
    'requests/s',
    ...bases.map((base) => `× ${base}`),
    'CPU µs least (median)',
    ...bases.map((base) => `CPU / ${base}`),
    'p50 ms',
    'p99 ms',
    'PostgreSQL µs',
    'MB',
    'failed',
    'foreign',
  ]
  const rows = figuresOf(windows, bases).map((figures) => row(figures, bases))
  return table(head, rows)
}

function row(figures: Figures, bases: readonly string[]): string[] {
  const { stack, perSecond, serverMicros, p50Millis, p99Millis, postgresMicros, megabytes } = figures
  return [
    stack,
    perSecond.toFixed(0),
    ...bases.map((base) => inWords(figures.throughput[base])),
    `${serverMicros.least.toFixed(0)} (${serverMicros.median.toFixed(0)})`,
    ...bases.map((base) => (figures.cpu[base] ?? NaN).toFixed(2)),
    p50Millis.toFixed(2),
    p99Millis.toFixed(1),
    postgresMicros.toFixed(0),
    megabytes.toFixed(0),
    String(figures.failures),
    figures.foreign.toFixed(2),
  ]
}
