/** What repeated measurements come to. */

export interface Spread {
  readonly median: number
  readonly least: number
  readonly most: number
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = (sorted.length - 1) / 2
  return ((sorted[Math.floor(middle)] ?? NaN) + (sorted[Math.ceil(middle)] ?? NaN)) / 2
}

export function spread(values: readonly number[]): Spread {
  return { median: median(values), least: Math.min(...values), most: Math.max(...values) }
}

/** `1.25 (1.10–1.31)`: the median, and between which the others lie. */
export function inWords(values: Spread | undefined): string {
  if (values === undefined) return '–'
  return `${values.median.toFixed(2)} (${values.least.toFixed(2)}–${values.most.toFixed(2)})`
}
