/** Bounds work that may hang, so that a fault without recovery gives a figure too. */

export interface InTime<T> {
  readonly value: T | undefined
  /** The error that it rejected with. */
  readonly error: unknown
  readonly tookMillis: number
  readonly isLate: boolean
}

/** Waits for work to settle, but no longer than that. Never rejects; what settles later is ignored. */
export async function inTime<T>(limitMillis: number, work: Promise<T>): Promise<InTime<T>> {
  const started = performance.now()
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<Partial<InTime<T>>>((resolve) => {
    timer = setTimeout(() => {
      resolve({ isLate: true })
    }, limitMillis)
  })
  const settled = work.then(
    (value): Partial<InTime<T>> => ({ value }),
    (error: unknown): Partial<InTime<T>> => ({ error }),
  )
  const outcome = await Promise.race([settled, late])
  clearTimeout(timer)
  return {
    value: undefined,
    error: undefined,
    isLate: false,
    ...outcome,
    tookMillis: performance.now() - started,
  }
}
