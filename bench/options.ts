/** What `npm run bench` is told by its flags. */
import { parseArgs } from 'node:util'
import { ENDPOINTS } from './http/endpoints'
import type { Plan } from './http/rounds'
import { type Stack, STACKS } from './http/stacks'

export const PARTS = ['http', 'sqlite', 'start', 'query', 'bulk', 'drivers'] as const

export type Part = (typeof PARTS)[number]

export interface Options {
  /** The release of Node to measure on, where that is not the one that this runs on. */
  readonly node: string | undefined
  readonly parts: readonly Part[]
  readonly stacks: readonly Stack[]
  readonly plan: Plan
  readonly isQuick: boolean
  /** Whether nothing was left out, so that the results are to be kept. */
  readonly isWhole: boolean
}

/** @throws Error for a name that does not exist, or a number that is none */
export function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      node: { type: 'string' },
      quick: { type: 'boolean', default: false },
      parts: { type: 'string' },
      stacks: { type: 'string' },
      endpoints: { type: 'string' },
      concurrency: { type: 'string' },
      rounds: { type: 'string' },
      window: { type: 'string' },
      'warm-up': { type: 'string' },
    },
  })
  const { quick } = values
  return {
    node: values.node,
    parts: chosen(PARTS, (part) => part, values.parts),
    stacks: chosen(STACKS, ({ id }) => id, values.stacks),
    plan: {
      endpoints: chosen(ENDPOINTS, ({ id }) => id, values.endpoints),
      concurrencies: (values.concurrency ?? (quick ? '64' : '1,16,64')).split(',').map(positive),
      rounds: positive(values.rounds ?? (quick ? '2' : '3')),
      windowMillis: 1000 * positive(values.window ?? (quick ? '1' : '1.5')),
      warmUpMillis: 1000 * positive(values['warm-up'] ?? (quick ? '3' : '12')),
    },
    isQuick: quick,
    isWhole: Object.keys(values).every((name) => ['quick', 'node'].includes(name)) && !quick,
  }
}

function chosen<T>(all: readonly T[], nameOf: (one: T) => string, names: string | undefined): readonly T[] {
  if (names === undefined) return all
  return names.split(',').map((name) => {
    const found = all.find((one) => nameOf(one) === name)
    if (found === undefined) throw new Error(`There is no '${name}', only ${all.map(nameOf).join(', ')}`)
    return found
  })
}

function positive(text: string): number {
  const number = Number(text)
  if (!(number > 0)) throw new Error(`'${text}' is not a number above 0`)
  return number
}
