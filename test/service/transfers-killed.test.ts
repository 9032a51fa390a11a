/** Clients send transfers with Idempotency-Keys while the service is killed and restarted: each key moves its money once. */
import { randomUUID } from 'node:crypto'
import { Agent, type IncomingMessage, request as httpRequest } from 'node:http'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { rounds } from '../support/rounds'
import { eachDatabase } from '../support/each-database'
import { freePort } from '../support/free-port'
import { randomFrom } from '../support/random-from'
import { report } from '../support/report'
import { unbalanced } from './support/ledger'
import { ServiceProcess } from './support/service-process'

/** `npm run test:transfers` runs it for a minute on each database. */
const SECONDS = rounds(3, 20, 'TRANSFER_SECONDS')
const LEAST_KILLS = Math.ceil(SECONDS / 8)
const CLIENTS = 32
const ACCOUNTS = 10
const OPENING_BALANCE = 1_000
const SEED = Number(process.env['MILLPOND_SEED'] ?? Math.floor(Math.random() * 2 ** 31))

interface Transfer {
  readonly key: string
  readonly from_account: number
  readonly to_account: number
  /** Amounts are unique, so that the history tells the key of each row. */
  readonly amount: number
}

interface Answer {
  readonly status: number
  readonly body: string
}

eachDatabase('32 clients and 10 accounts', (context) => {
  jest.setTimeout(90_000 + SECONDS * 4000)
  let productsUrl: string
  beforeAll(async () => {
    productsUrl = await context.createDatabase()
  })

  it(`keep the sum of money while the service is killed at random for ${SECONDS} seconds`, async () => {
    const random = randomFrom(SEED)
    const port = await freePort()
    const start = (): ServiceProcess =>
      new ServiceProcess({
        DATABASE_URL: context.url,
        PRODUCTS_DATABASE_URL: productsUrl,
        MIGRATE_ON_START: 'true',
        PORT: String(port),
      })
    let service = start()
    let isOver = false
    let hasFailed = false
    const agent = new Agent({ keepAlive: true, maxSockets: CLIENTS })
    try {
      await service.listening()
      const database = await context.open()
      await database.execute('DELETE FROM accounts')
      const opening = { owner: 'Ada', balance: OPENING_BALANCE, opening_balance: OPENING_BALANCE }
      await database.executeMany(
        database.table('accounts'),
        Array.from({ length: ACCOUNTS }, () => opening),
      )
      const ids = (await database.fetchAll<{ id: number }>('SELECT id FROM accounts')).map(({ id }) => id)

      const settled = new Map<Transfer, Answer>()
      const changed: unknown[] = []
      const counts = { made: 0, sent: 0, failed: 0, askedAgain: 0 }
      const send = (transfer: Transfer): Promise<Answer> =>
        new Promise((resolve, reject) => {
          counts.sent += 1
          const { key, ...body } = transfer
          const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': `"${key}"` }
          const options = { port, host: '127.0.0.1', path: '/transfer', method: 'POST', agent, headers }
          const sending = httpRequest(options, (answer: IncomingMessage) => {
            text(answer).then(
              (sentBack) => resolve({ status: answer.statusCode ?? 0, body: sentBack }),
              reject,
            )
          })
          sending.on('error', reject)
          sending.end(JSON.stringify(body))
        })
      /** Sends the same request with the same key until there is an answer, as a client should. */
      const untilAnswered = async (transfer: Transfer): Promise<Answer> => {
        for (;;) {
          const answer = await send(transfer).catch(() => null)
          if (answer !== null && answer.status < 500) return answer
          if (hasFailed) throw new Error('The test has failed')
          counts.failed += 1
          await delay(50 + random(200))
        }
      }
      const client = async (): Promise<void> => {
        // oxlint-disable-next-line eslint/no-unmodified-loop-condition -- it is, by what the clients run beside
        while (!isOver) {
          const from = random(ACCOUNTS)
          const to = (from + 1 + random(ACCOUNTS - 1)) % ACCOUNTS
          const transfer: Transfer = {
            key: randomUUID(),
            from_account: ids[from] ?? 0,
            to_account: ids[to] ?? 0,
            amount: (counts.made += 1),
          }
          const answer = await untilAnswered(transfer)
          settled.set(transfer, answer)
          if (random(10) > 0) continue
          counts.askedAgain += 1
          const again = await untilAnswered(transfer)
          if (again.status !== answer.status || again.body !== answer.body) changed.push({ answer, again })
        }
      }
      const clients = Array.from({ length: CLIENTS }, client)
      // A failure before the await must not be an unhandled rejection.
      for (const each of clients) each.catch(() => undefined)

      const end = performance.now() + SECONDS * 1000
      let kills = 0
      while (performance.now() < end || kills < LEAST_KILLS) {
        // One in four kills hits a service that is starting.
        if (random(4) > 0) await service.listening()
        await delay(random(1000))
        service.kill('SIGKILL')
        expect(await service.ended()).toBe('SIGKILL')
        kills += 1
        service = start()
      }
      await service.listening()
      isOver = true
      await Promise.all(clients)

      const answers = [...settled].map(([{ amount }, { status }]) => ({ amount, status }))
      const moved = answers.filter(({ status }) => status === 200)
      report(`transfers and kills on ${context.dialect}`, {
        seed: SEED,
        seconds: SECONDS,
        kills,
        transfers: moved.length,
        refused: answers.length - moved.length,
        'sent again after no answer': counts.failed,
        'sent again after an answer': counts.askedAgain,
      })
      expect(changed).toEqual([])
      expect([...new Set(answers.map(({ status }) => status))].filter((status) => status !== 409)).toEqual([
        200,
      ])
      const rows = await database.fetchAll<{ amount: number | string }>('SELECT amount FROM transfers')
      const inHistory = rows.map(({ amount }) => Number(amount)).toSorted((a, b) => a - b)
      expect(inHistory).toEqual(moved.map(({ amount }) => amount).toSorted((a, b) => a - b))
      expect(await unbalanced(database)).toEqual([])
      const sum = await database.fetchVal('SELECT sum(balance) FROM accounts')
      expect(Number(sum)).toBe(ACCOUNTS * OPENING_BALANCE)
      const keys = await database.fetchVal('SELECT count(*) FROM idempotency_keys')
      expect(Number(keys)).toBe(answers.length)
      expect(moved.length).toBeGreaterThan(CLIENTS)
      expect(counts.failed).toBeGreaterThan(0)
    } catch (cause) {
      hasFailed = isOver = true
      throw new Error(`With MILLPOND_SEED=${SEED} it fails`, { cause })
    } finally {
      agent.destroy()
      await service[Symbol.asyncDispose]()
    }
  })
})
