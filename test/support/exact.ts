/** How exactly times are checked: EXACT_TIMES=1 applies the documented bounds, on an idle machine. */
export const EXACT_TIMES = process.env['EXACT_TIMES'] === '1'

/** The documented bound, or a wider one that a busy machine stays within. */
export function within(promised: number, busy: number): number {
  return EXACT_TIMES ? promised : busy
}
