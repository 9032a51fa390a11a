/** What a process has used of the machine, from outside of it. Linux only; elsewhere it is not known. */
import { readFileSync } from 'node:fs'

/** Processor time of a process so far, in microseconds: of all its threads, those that have ended included. */
export function cpuMicros(pid: number): number {
  try {
    return statMicros(pid, OWN)
  } catch {
    return NaN
  }
}

/** The same of the children of a process that have one thread each, as PostgreSQL's have, and more exactly. */
export function childrenMicros(pid: number): number {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean)
    return children.reduce((total, child) => total + threadMicros(child), statMicros(pid, OF_ENDED_CHILDREN))
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

/** Where `stat` has the time in the program and that in the kernel, counted behind the second field. */
const OWN = 11
/** The same of children that have ended. */
const OF_ENDED_CHILDREN = 13

function statMicros(pid: number, at: number): number {
  // The second field, in parentheses, may hold spaces.
  const [, fields = ''] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')
  const [user, system] = fields.split(' ').slice(at, at + 2)
  return (Number(user) + Number(system)) * MICROS_PER_TICK
}

/** `schedstat` counts nanoseconds, where `stat` counts hundredths of a second. */
function threadMicros(pid: string): number {
  const [nanos] = readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')
  return Number(nanos) / 1000
}
