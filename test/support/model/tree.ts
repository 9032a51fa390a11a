/** Random programs of transactions: what they may consist of, and how fast-check makes them. */
import fc from 'fast-check'

/** How one row is inserted: the library's verbs, Knex by a plain await, or the innermost transaction's own handle. */
export type Way = (typeof WAYS)[number]
const WAYS = ['execute', 'fetchOne', 'table', 'raw', 'handle'] as const

/** How a transaction's block ends. `abandon` leaves a transaction open that it began; `spoil` swallows a failed statement. */
export type End = (typeof ENDS)[number]
const ENDS = [
  'return', 'throw', 'commit', 'commit and throw', 'rollback', 'rollback and throw', 'force', 'abandon', 'spoil',
] as const // prettier-ignore

export interface Block {
  readonly steps: readonly Step[]
  readonly end: End
}

export type Step =
  /** A row, awaited; not awaited; or sent after the end of the block that it belongs to, where it must be refused. */
  | { readonly kind: 'insert' | 'forget' | 'late'; readonly way: Way }
  /** `executeMany`, awaited or not. */
  | { readonly kind: 'many'; readonly count: number; readonly awaited: boolean }
  /** A statement by the handle of the outer transaction, inside of the inner one: it must be refused. */
  | { readonly kind: 'outer' }
  /** A row that leaves the transaction, and is not waited for. */
  | { readonly kind: 'detached' }
  | { readonly kind: 'transaction'; readonly block: Block; readonly error: 'caught' | 'passed on' }
  /** A transaction that nobody awaits. */
  | { readonly kind: 'forgotten transaction'; readonly block: Block }
  /** `begin()`: what is inside runs on the handle. */
  | {
      readonly kind: 'begin'
      readonly steps: readonly Step[]
      readonly end: 'commit' | 'rollback' | 'dispose'
    }
  | { readonly kind: 'connection'; readonly steps: readonly Step[] }
  | {
      readonly kind: 'branches'
      readonly branches: readonly (readonly Step[])[]
      readonly by: 'all' | 'allSettled'
    }
  /** Reads a stream with work in the loop's body. */
  | {
      readonly kind: 'loop'
      readonly rows: number
      readonly body: readonly Step[]
      readonly leaves: 'at the end' | 'by break' | 'by throw'
    }

const MOST_STEPS = 3
const DEPTH = 3

/** The steps of one program. */
export function tree(): fc.Arbitrary<readonly Step[]> {
  return fc.array(step(DEPTH), { minLength: 1, maxLength: MOST_STEPS })
}

function steps(depth: number): fc.Arbitrary<readonly Step[]> {
  return fc.array(step(depth), { maxLength: MOST_STEPS })
}

function step(depth: number): fc.Arbitrary<Step> {
  if (depth === 0) return leaf()
  const inner = steps(depth - 1)
  const block = fc.record({
    steps: inner,
    end: fc.constantFrom<End>('return', 'return', 'return', 'return', 'throw', 'throw', ...ENDS),
  })
  return fc.oneof(
    { weight: 6, arbitrary: leaf() },
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('transaction' as const),
        block,
        error: fc.constantFrom('caught' as const, 'passed on' as const),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('forgotten transaction' as const), block }) },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('begin' as const),
        steps: inner,
        end: fc.constantFrom('commit' as const, 'rollback' as const, 'dispose' as const),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('connection' as const), steps: inner }) },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('branches' as const),
        branches: fc.array(inner, { minLength: 2, maxLength: 3 }),
        by: fc.constantFrom('all' as const, 'allSettled' as const),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('loop' as const),
        rows: fc.integer({ min: 1, max: 3 }),
        body: fc.array(step(depth - 1), { maxLength: 2 }),
        leaves: fc.constantFrom('at the end' as const, 'by break' as const, 'by throw' as const),
      }),
    },
  )
}

function leaf(): fc.Arbitrary<Step> {
  const way = fc.constantFrom(...WAYS)
  return fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('insert' as const), way }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('forget' as const), way }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('late' as const), way }) },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('many' as const),
        count: fc.integer({ min: 1, max: 3 }),
        awaited: fc.boolean(),
      }),
    },
    { weight: 1, arbitrary: fc.constant({ kind: 'outer' } as const) },
    { weight: 1, arbitrary: fc.constant({ kind: 'detached' } as const) },
  )
}
