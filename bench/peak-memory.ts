/** This process's resident memory at its highest. Linux only; elsewhere it is not known. */
import { readFileSync, writeFileSync } from 'node:fs'

export class PeakMemory {
  readonly #before = process.memoryUsage.rss() / 1e6

  /** Looks from now on. */
  constructor() {
    try {
      // https://man7.org/linux/man-pages/man5/proc_pid_clear_refs.5.html
      writeFileSync('/proc/self/clear_refs', '5')
    } catch {
      // Then what was highest before counts as well.
    }
  }

  /** Not of `process.resourceUsage()`, where a process begins with what the one had that has started it. */
  get megabytes(): number {
    try {
      const [, kilobytes] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? []
      return Number(kilobytes) * 1.024e-3
    } catch {
      return NaN
    }
  }

  get extraMegabytes(): number {
    return this.megabytes - this.#before
  }
}
