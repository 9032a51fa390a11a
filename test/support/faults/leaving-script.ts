/** Clients of an HTTP server that connect over some time and disconnect at random moments. Prints when all are gone. */
import { Agent, get } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'

export interface LeavingScript {
  readonly url: string
  readonly clients: number
  /** The time over which they connect, and the most that each stays. */
  readonly comeWithinMillis: number
  readonly leaveWithinMillis: number
}

/** Asked for in turn. */
const PATHS = ['/quick', '/stuck', '/stream', '/transaction', '/stream-in-transaction', '/per-request']

/** Connects, and disconnects at a random moment: its request queued, running, answered in part or not sent. */
async function comeAndGo(target: string, agent: Agent, script: LeavingScript): Promise<void> {
  await delay(Math.random() * script.comeWithinMillis)
  await new Promise<void>((resolve) => {
    const sent = get(target, { agent }, (answer) => {
      answer.on('error', () => {})
      // Every other one of them does not read, so that a stream waits for it.
      if (Math.random() < 0.5) answer.resume()
    })
    sent.on('error', () => {})
    sent.on('close', resolve)
    setTimeout(() => sent.destroy(), Math.random() * script.leaveWithinMillis)
  })
}

async function main(script: LeavingScript): Promise<void> {
  const agent = new Agent({ keepAlive: true })
  const clients = Array.from({ length: script.clients }, (_, n) =>
    comeAndGo(`${script.url}${PATHS[n % PATHS.length]}`, agent, script),
  )
  await Promise.all(clients)
  agent.destroy()
  process.stdout.write('gone\n')
}

void main(JSON.parse(process.argv[2] ?? '') as LeavingScript)
