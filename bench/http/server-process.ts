/** A stack's server as a process of its own, on a processor of its own where that can be had. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '../../test/support/free-port'
import { onTheFirstProcessor } from '../processors'
import { root, type Stack } from './stacks'

const START_TIMEOUT_MILLIS = 60_000

const running = new Set<ChildProcess>()

// Nobody may be left behind, however this process ends.
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

export interface Server {
  readonly stack: Stack
  readonly port: number
  readonly pid: number
  /** From the start of the process to the first answer that took a query. */
  readonly startMillis: number
  stop(): Promise<void>
}

/** Starts a stack's server and waits until it answers out of the database. */
export async function startServer(stack: Stack, given: Readonly<Record<string, string>>): Promise<Server> {
  const port = await freePort()
  const [program = '', ...args] = onTheFirstProcessor(stack.command)
  const environment = {
    ...process.env,
    NODE_ENV: 'production',
    PORT: String(port),
    ...given,
    ...stack.environment,
  }
  const since = performance.now()
  const child = spawn(program, args, { cwd: root, env: environment, stdio: ['ignore', 'ignore', 'pipe'] })
  let complaints = ''
  child.stderr.on('data', (chunk: Buffer) => (complaints = (complaints + chunk.toString()).slice(-4000)))
  running.add(child)
  child.once('exit', () => running.delete(child))
  while (!(await answers(port))) {
    if (child.exitCode !== null || performance.now() - since > START_TIMEOUT_MILLIS) {
      child.kill('SIGKILL')
      throw new Error(`${stack.id} did not start. It said:\n${complaints}`)
    }
    await sleep(5)
  }
  const startMillis = performance.now() - since
  return { stack, port, pid: Number(child.pid), startMillis, stop: () => stop(child) }
}

async function answers(port: number): Promise<boolean> {
  try {
    const { status } = await fetch(`http://127.0.0.1:${port}/users/1`)
    // Before there are users it is 404, and out of the database all the same.
    return status === 200 || status === 404
  } catch {
    return false
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill('SIGTERM')
  const last = setTimeout(() => child.kill('SIGKILL'), 10_000)
  await gone
  clearTimeout(last)
}
