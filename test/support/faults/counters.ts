/** The ways of counting that there are, by name. */
import type { Counter } from './counter'
import { KnexCounter } from './knex-counter'
import { MillpondCounter } from './millpond-counter'

export const COUNTERS = {
  millpond: (url: string): Counter => new MillpondCounter(url),
  'plain Knex': (url: string): Counter => new KnexCounter(url),
}

export type CounterName = keyof typeof COUNTERS
