/** How exactly times are looked at: EXACT_TIMES=1 for what a release is held to, on a machine that does nothing else. */
export const EXACT_TIMES = process.env['EXACT_TIMES'] === '1'

/** The bound that is promised, or what tells a promise that is broken from a machine that is busy. */
export function within(promised: number, busy: number): number {
  return EXACT_TIMES ? promised : busy
}
