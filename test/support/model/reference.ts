/** What a program of transactions must leave in the table, by the rules of docs and design, and without a database. */
import type { Dialect } from '../scratch'
import type { Block, End, Step } from './tree'

/** What is certain about a program, whatever the order in which its branches happen to run. */
export interface Expectation {
  /** Tags of rows that are there afterwards, … */
  readonly rows: Set<string>
  /** … and of rows of which both is right: they were sent while something else may have failed already. */
  readonly open: Set<string>
  /** Whether the block or the loop of a path resolves or rejects. */
  readonly outcomes: Map<string, 'resolves' | 'rejects'>
}

/** Where a step stands. */
interface Place {
  /** In a transaction or on a held connection, which connection() then joins. */
  readonly isBound: boolean
  /** Whether Promise.all may leave branches running: only where the error then ends the transaction around them. */
  readonly races: boolean
  /** What is sent without being awaited, and is lost should the block around fail. */
  readonly forgotten: Found[]
}

interface Found {
  readonly threw: boolean
  readonly rows: readonly Row[]
  readonly outcomes: readonly (readonly [string, 'resolves' | 'rejects'])[]
}

interface Row {
  readonly tag: string
  /** Sent outside of the transaction that it was made in. */
  readonly isDetached: boolean
  readonly isCertain: boolean
}

const NOTHING: Found = { threw: false, rows: [], outcomes: [] }

/** Ends after which the rows of a block stay, as far as the block around it stays. */
const KEEPING: readonly End[] = ['return', 'commit', 'commit and throw']
const THROWING: readonly End[] = ['throw', 'commit and throw', 'rollback and throw', 'abandon']

export class Reference {
  readonly #dialect: Dialect

  constructor(dialect: Dialect) {
    this.#dialect = dialect
  }

  of(steps: readonly Step[]): Expectation {
    const forgotten: Found[] = []
    const found = this.#steps(steps, { isBound: false, races: false, forgotten }, '')
    const { rows, outcomes } = together([found, ...forgotten])
    const tags = (isCertain: boolean): Set<string> =>
      new Set(rows.filter((row) => row.isCertain === isCertain).map(({ tag }) => tag))
    return { rows: tags(true), open: tags(false), outcomes: new Map(outcomes) }
  }

  #steps(steps: readonly Step[], place: Place, path: string): Found {
    const found: Found[] = []
    for (const [index, step] of steps.entries()) {
      const next = this.#step(step, place, `${path}.${index}`)
      found.push(next)
      if (next.threw) break
    }
    return together(found)
  }

  #step(step: Step, place: Place, path: string): Found {
    switch (step.kind) {
      case 'insert':
        return one(path)
      case 'forget':
        place.forgotten.push(one(path))
        return NOTHING
      case 'many': {
        const found = together(Array.from({ length: step.count }, (_, n) => one(`${path}#${n}`)))
        if (step.awaited) return found
        place.forgotten.push(found)
        return NOTHING
      }
      case 'late':
      case 'outer':
        return NOTHING
      case 'detached':
        return one(path, true)
      case 'transaction': {
        const found = this.#block(step.block, path)
        return step.error === 'caught' ? { ...found, threw: false } : found
      }
      case 'forgotten transaction':
        place.forgotten.push({ ...this.#block(step.block, path), threw: false })
        return NOTHING
      case 'begin': {
        const [found, whatever] = this.#inside(step.steps, { isBound: true, races: true }, path)
        const stays = !found.threw && step.end === 'commit'
        return ended(found, whatever, stays)
      }
      case 'connection': {
        if (place.isBound) return this.#steps(step.steps, place, path)
        const [found, whatever] = this.#inside(step.steps, { isBound: true, races: false }, path)
        // What it was asked for without being awaited may have run or not, when it is given back.
        const rest = found.threw ? whatever.map(uncertain) : whatever
        return { ...together([found, ...rest]), threw: found.threw }
      }
      case 'branches':
        return this.#branches(step, place, path)
      default:
        return this.#loop(step, place, path)
    }
  }

  #branches(step: Step & { kind: 'branches' }, place: Place, path: string): Found {
    const within = step.by === 'all' ? place : { ...place, races: false }
    const forgotten: Found[] = []
    const found = step.branches.map((branch, index) =>
      this.#steps(branch, { ...within, forgotten }, `${path}.${index}`),
    )
    const threw = step.by === 'all' && found.some((branch) => branch.threw)
    // The error of one branch overtakes the others, so what these have done by then is anybody's guess.
    const isOpen = threw && within.races
    place.forgotten.push(...(isOpen ? forgotten.map(uncertain) : forgotten))
    return { ...together(isOpen ? found.map(uncertain) : found), threw }
  }

  #loop({ rows, body, leaves }: Step & { kind: 'loop' }, place: Place, path: string): Found {
    const found: Found[] = []
    const turns = leaves === 'by break' ? 1 : rows
    for (let turn = 0; turn < turns; turn += 1) {
      const next = this.#steps(body, place, `${path}#${turn}`)
      found.push(next)
      if (next.threw) return together(found)
    }
    return { ...together(found), threw: leaves === 'by throw' }
  }

  #block({ steps, end }: Block, path: string): Found {
    const [found, whatever] = this.#inside(steps, { isBound: true, races: true }, path)
    // PostgreSQL takes nothing more after a failed statement, and turns COMMIT into ROLLBACK.
    const isSpoilt = end === 'spoil' && this.#dialect === 'postgresql'
    const stays = !found.threw && (KEEPING.includes(end) || (end === 'spoil' && !isSpoilt))
    const threw = found.threw || THROWING.includes(end) || isSpoilt
    const result = ended({ ...found, threw }, whatever, stays)
    return { ...result, outcomes: [...result.outcomes, [path, threw ? 'rejects' : 'resolves']] }
  }

  #inside(steps: readonly Step[], place: Omit<Place, 'forgotten'>, path: string): [Found, Found[]] {
    const forgotten: Found[] = []
    const found = this.#steps(steps, { ...place, forgotten }, path)
    return [found, forgotten]
  }
}

function one(tag: string, isDetached = false): Found {
  return { ...NOTHING, rows: [{ tag, isDetached, isCertain: true }] }
}

function together(found: readonly Found[]): Found {
  return {
    threw: found.at(-1)?.threw ?? false,
    rows: found.flatMap(({ rows }) => rows),
    outcomes: found.flatMap(({ outcomes }) => outcomes),
  }
}

/** The end of a transaction. What was not awaited in it is complete when it stays, and cut short when it does not. */
function ended(found: Found, forgotten: readonly Found[], stays: boolean): Found {
  const all = together([found, ...(stays ? forgotten : forgotten.map(uncertain))])
  return { ...all, threw: found.threw, rows: all.rows.filter((row) => stays || row.isDetached) }
}

function uncertain(found: Found): Found {
  return { ...found, rows: found.rows.map((row) => ({ ...row, isCertain: false })), outcomes: [] }
}
