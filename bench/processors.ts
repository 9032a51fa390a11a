/** Keeps what is measured on one processor and what measures it on another, where that can be had. */
import { spawnSync } from 'node:child_process'
import { availableParallelism } from 'node:os'

const canPin = availableParallelism() > 1 && spawnSync('taskset', ['--version']).status === 0

/** How the processors are shared out, in words. */
export const PINNING = canPin
  ? 'what is measured runs on processor 0, load generator and PostgreSQL on processor 1'
  : 'processes are not pinned to processors'

/** Keeps this process, and what it will start, off the processor of what is measured. */
export function leaveTheFirstProcessor(): void {
  if (canPin) spawnSync('taskset', ['--all-tasks', '--cpu-list', '--pid', '1', String(process.pid)])
}

/** A command as it is to be started so that it runs on the first processor. */
export function onTheFirstProcessor(command: readonly string[]): readonly string[] {
  return canPin ? ['taskset', '--cpu-list', '0', ...command] : command
}
