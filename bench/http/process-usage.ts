/** What a process has used of the machine, from outside of it. Linux only; elsewhere it is not known. */
import { readdirSync, readFileSync } from 'node:fs'

/** Processor time of all threads of a process so far, in microseconds. */
export function cpuMicros(pid: number): number {
  try {
    return sum(readdirSync(`/proc/${pid}/task`).map((thread) => threadMicros(pid, thread)))
  } catch {
    return NaN
  }
}

/** The same of a process together with its children, as PostgreSQL's are. */
export function treeMicros(pid: number): number {
  try {
    return sum([pid, ...childrenOf(pid)].map(cpuMicros))
  } catch {
    return NaN
  }
}

/** Resident memory, in megabytes. */
export function residentMegabytes(pid: number): number {
  try {
    const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
    return Number(kilobytes) / 1000
  } catch {
    return NaN
  }
}

/** Processor time of the whole machine so far that was not spent on idling, steal by the host included. */
export function machineMicros(): number {
  try {
    const [line = ''] = readFileSync('/proc/stat', 'utf8').split('\n')
    const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = line
      .split(/\s+/)
      .slice(1)
      .map(Number)
    return (user + nice + system + irq + softirq + steal) * MICROS_PER_TICK
  } catch {
    return NaN
  }
}

/** The kernel's USER_HZ, which is 100 on every platform that Node runs on. */
const MICROS_PER_TICK = 10_000

/** `schedstat` counts nanoseconds, where `stat` counts hundredths of a second. */
function threadMicros(pid: number, thread: string): number {
  const [nanos] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')
  return Number(nanos) / 1000
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}
