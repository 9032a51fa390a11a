/** A rolling deployment: two processes behind a load balancer are replaced in turn under load, without a failed request. */
import { Agent, type IncomingMessage, request as httpRequest } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import request from 'supertest'
import { rounds } from '../support/rounds'
import { Balancer } from '../support/balancer'
import { eachDatabase } from '../support/each-database'
import { freePort } from '../support/free-port'
import { report } from '../support/report'
import { waitFor } from '../support/wait-for'
import { ServiceProcess } from './support/service-process'

/** ROLLING_CYCLES=50 is what a release has to pass. */
const CYCLES = rounds(1, 3, 'ROLLING_CYCLES')
const LEAST_REQUESTS = 400 * CYCLES
const KEEP_ALIVE_CLIENTS = 32
const NEW_CONNECTION_CLIENTS = 4
/** The pause between requests, longer on a busy machine, which must be able to answer the polls. */
const THINK_MILLIS = Number(process.env['ROLLING_THINK_MILLIS'] ?? 100)
const POLL_MILLIS = 150
/** Several polls, with a margin for a busy machine. */
const GRACE_SECONDS = '1'

interface Running {
  readonly service: ServiceProcess
  readonly url: string
}

eachDatabase('two processes behind a load balancer', (context) => {
  if (context.dialect === 'sqlite') {
    // On SQLite both would write one file; this tests HTTP.
    it('are tested on PostgreSQL', () => expect(context.url).toContain('sqlite'))
    return
  }

  jest.setTimeout(60_000 + CYCLES * 15_000)
  const services: ServiceProcess[] = []
  afterEach(async () => {
    for (const service of services.splice(0)) await service[Symbol.asyncDispose]()
  })
  let productsUrl: string
  beforeAll(async () => {
    productsUrl = await context.createDatabase()
  })

  async function start(balancer: Balancer): Promise<Running> {
    for (;;) {
      const service = new ServiceProcess({
        DATABASE_URL: context.url,
        PRODUCTS_DATABASE_URL: productsUrl,
        MIGRATE_ON_START: 'true',
        HOST: '127.0.0.1',
        PORT: String(await freePort()),
        READINESS_GRACE: GRACE_SECONDS,
        LOG_LEVEL: 'info',
      })
      services.push(service)
      try {
        const url = await service.listening()
        balancer.add(url)
        return { service, url }
      } catch (error) {
        // Another process on the machine may take the port during the start.
        if (!service.everything.includes('is already in use')) throw error
      }
    }
  }

  const bothReady = (balancer: Balancer): Promise<unknown> =>
    waitFor(
      () => {
        if (balancer.ready < 2) throw new Error(balancer.states.join('; '))
        return true
      },
      { timeoutMillis: 60_000, what: 'both to be ready' },
    )

  it(`are replaced ${CYCLES} times under load without a failed request`, async () => {
    await using balancer = await Balancer.start(POLL_MILLIS)
    const running = [await start(balancer), await start(balancer)]
    await bothReady(balancer)
    await request(balancer.url).post('/users').send({ username: 'ada', email: 'ada@example.org' }).expect(201)

    const failures: string[] = []
    let answered = 0
    let isOver = false
    const { url } = balancer
    const ask = (agent: Agent | false): Promise<void> =>
      new Promise((resolve) => {
        const isNew = agent === false
        const sent = httpRequest(
          `${url}${Math.random() < 0.5 ? '/users/1' : '/posts?limit=5'}`,
          { agent, headers: isNew ? { Connection: 'close' } : {} },
          (answer: IncomingMessage) => {
            if (answer.statusCode !== 200) failures.push(`${answer.statusCode} ${answer.statusMessage}`)
            answer.resume()
            answer.on('error', (error) => failures.push(String(error)))
            answer.on('close', () => {
              answered += 1
              resolve()
            })
          },
        )
        sent.on('error', (error) => {
          failures.push(String(error))
          resolve()
        })
        sent.end()
      })
    const agent = new Agent({ keepAlive: true, maxSockets: KEEP_ALIVE_CLIENTS })
    const client = async (own: Agent | false): Promise<void> => {
      for (;;) {
        await ask(own)
        if (isOver) return
        await delay(THINK_MILLIS)
      }
    }
    const clients = [
      ...Array.from({ length: KEEP_ALIVE_CLIENTS }, () => client(agent)),
      ...Array.from({ length: NEW_CONNECTION_CLIENTS }, () => client(false)),
    ]

    const exits: (number | string | null)[] = []
    let slowestEndMillis = 0
    const began = performance.now()
    try {
      for (let cycle = 0; cycle < CYCLES; cycle += 1) {
        const old = running.shift()
        if (old === undefined) throw new Error('Nobody is left')
        const asked = performance.now()
        old.service.kill('SIGTERM')
        exits.push(await old.service.ended())
        slowestEndMillis = Math.max(slowestEndMillis, performance.now() - asked)
        balancer.remove(old.url)
        running.push(await start(balancer))
        await bothReady(balancer)
      }
    } finally {
      isOver = true
      await Promise.all(clients)
    }
    const tookSeconds = (performance.now() - began) / 1000
    agent.destroy()
    report('rolling restarts', {
      cycles: CYCLES,
      requests: answered,
      failed: failures.length,
      'requests per second': answered / tookSeconds,
      'slowest end in ms': slowestEndMillis,
    })
    expect([...new Set(failures)]).toEqual([])
    expect(answered).toBeGreaterThan(LEAST_REQUESTS)
    expect(exits).toEqual(Array(CYCLES).fill(0))
    for (const { service } of running) {
      service.kill('SIGTERM')
      expect(await service.ended()).toBe(0)
    }
    const left = (): Promise<unknown[]> =>
      context.admin(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
      )
    await waitFor(async () => (await left()).length === 0, { timeoutMillis: 1000 })
  })
})
