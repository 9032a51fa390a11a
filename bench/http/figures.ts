/** What the windows of one stack come to, beside those of the stacks that it is compared with. */
import { median, spread, type Spread } from '../spread'
import type { Window } from './rounds'

/** Ratios are taken within a round and against the same endpoint and concurrency. */
export interface Figures {
  readonly stack: string
  readonly perSecond: number
  readonly p50Millis: number
  readonly p99Millis: number
  readonly serverMicros: { readonly least: number; readonly median: number }
  readonly postgresMicros: number
  readonly megabytes: number
  readonly failures: number
  readonly foreign: number
  /** How many times the throughput of each base, by round: median, least and most. */
  readonly throughput: Readonly<Record<string, Spread>>
  /** Server CPU per request, least over least. */
  readonly cpu: Readonly<Record<string, number>>
}

/** @param windows of one endpoint at one concurrency */
export function figuresOf(windows: readonly Window[], bases: readonly string[]): Figures[] {
  const stacks = [...new Set(windows.map(({ stack }) => stack))]
  return stacks.map((stack) => {
    const own = windows.filter((window) => window.stack === stack)
    const least = Math.min(...own.map(({ serverMicros }) => serverMicros))
    return {
      stack,
      perSecond: median(own.map(({ perSecond }) => perSecond)),
      p50Millis: median(own.map(({ p50Millis }) => p50Millis)),
      p99Millis: median(own.map(({ p99Millis }) => p99Millis)),
      serverMicros: { least, median: median(own.map(({ serverMicros }) => serverMicros)) },
      postgresMicros: Math.min(...own.map(({ postgresMicros }) => postgresMicros)),
      megabytes: median(own.map(({ megabytes }) => megabytes)),
      failures: own.reduce((total, { failures }) => total + failures, 0),
      foreign: median(own.map(({ foreign }) => foreign)),
      throughput: forEach(bases, (base) => throughputRatio(own, ofStack(windows, base))),
      cpu: forEach(bases, (base) => {
        return least / Math.min(...ofStack(windows, base).map(({ serverMicros }) => serverMicros))
      }),
    }
  })
}

function throughputRatio(own: readonly Window[], base: readonly Window[]): Spread {
  return spread(
    own.map(({ perSecond, round }) => {
      return perSecond / (base.find((window) => window.round === round)?.perSecond ?? NaN)
    }),
  )
}

function ofStack(windows: readonly Window[], id: string): Window[] {
  return windows.filter(({ stack }) => stack === id)
}

function forEach<T>(names: readonly string[], make: (name: string) => T): Record<string, T> {
  return Object.fromEntries(names.map((name) => [name, make(name)]))
}
