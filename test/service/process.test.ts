/** The service as a process: start, failed starts, and shutdown by signals. */
import { type ClientRequest, type IncomingMessage, request as httpRequest } from 'node:http'
import { once } from 'node:events'
import { createServer } from 'node:net'
import request from 'supertest'
import { eachDatabase } from '../support/each-database'
import { freePort } from '../support/free-port'
import { waitFor } from '../support/wait-for'
import { ServiceProcess } from './support/service-process'

eachDatabase('the process', (context) => {
  let productsUrl: string

  beforeAll(async () => {
    productsUrl = await context.createDatabase()
  })

  async function variables(): Promise<Record<string, string>> {
    return {
      DATABASE_URL: context.url,
      PRODUCTS_DATABASE_URL: productsUrl,
      MIGRATE_ON_START: 'true',
      HOST: '127.0.0.1',
      PORT: String(await freePort()),
    }
  }

  /** Sends a request, and resolves when the server has read its head. */
  async function begin(url: string, body: object): Promise<{ answer: Promise<IncomingMessage> }> {
    const text = JSON.stringify(body)
    const sent: ClientRequest = httpRequest(url, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'Content-Length': text.length, Expect: '100-continue' },
    })
    const answer = once(sent, 'response').then(([response]) => (response as IncomingMessage).resume())
    sent.flushHeaders()
    await once(sent, 'continue')
    sent.end(text)
    return { answer }
  }

  it('creates its tables, logs its databases and its address, and answers', async () => {
    await using service = new ServiceProcess(await variables())
    const url = await service.listening()
    const steps = service.messages.filter((message) => !/, done in |is a superuser/.test(message))
    expect(steps).toEqual([
      expect.stringMatching(/^database main \(.+\): connected$/),
      expect.stringMatching(/^database products \(.+\): connected$/),
      'database main: up to date',
      'database products: up to date',
      `listening on ${url}`,
    ])
    await request(url).get('/readyz').expect(200)
    await request(url).get('/posts').expect(200)
    await request(url).get('/products').expect(200)
    service.kill('SIGINT')
    expect(await service.ended()).toBe(0)
    expect(service.complaints).toEqual([])
  })

  it('answers 16 running requests on SIGTERM, exits with 0, and leaves no connection', async () => {
    await using service = new ServiceProcess({ ...(await variables()), DATABASE_POOL_SIZE: '16' })
    const url = await service.listening()
    const accounts = ['Ada', 'Grace'].map((owner) =>
      request(url).post('/accounts').send({ owner, balance: 1000 }).expect(201),
    )
    const [from, to] = (await Promise.all(accounts)).map(({ body }) => (body as { id: number }).id)
    // Another transaction locks the accounts, so that every transfer waits.
    const outside = await context.open()
    const tx = await outside.begin()
    await tx.execute('UPDATE accounts SET balance = balance')
    const transfer = { from_account: from, to_account: to, amount: 10 }
    const begun = await Promise.all(Array.from({ length: 16 }, () => begin(`${url}/transfer`, transfer)))
    service.kill('SIGTERM')
    await service.said(/^SIGTERM: shutting down, 16 requests in flight$/)
    await tx.rollback()
    const answers = await Promise.all(begun.map(({ answer }) => answer))
    expect(answers.map(({ statusCode }) => statusCode)).toEqual(Array(16).fill(200))
    for (const { headers } of answers) expect(headers).toHaveProperty('connection', 'close')
    expect(await service.ended()).toBe(0)
    const balance = await outside.fetchVal('SELECT balance FROM accounts WHERE id = :from', { from })
    expect(Number(balance)).toBe(840)
    await outside.disconnect()
    // The standing check sees within two seconds that no connection is left.
    if (context.dialect === 'postgresql') {
      const left = (): Promise<unknown[]> =>
        context.admin(
          "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
        )
      await waitFor(async () => (await left()).length === 0, { timeoutMillis: 1000 })
    }
  })

  it('exits at once on a second signal', async () => {
    await using service = new ServiceProcess(await variables())
    const url = await service.listening()
    const { body } = await request(url).post('/accounts').send({ owner: 'Ada', balance: 1000 }).expect(201)
    const { id } = body as { id: number }
    const outside = await context.open()
    const tx = await outside.begin()
    await tx.execute('UPDATE accounts SET balance = balance')
    const { answer } = await begin(`${url}/transfer`, { from_account: id, to_account: id + 1, amount: 1 })
    const cut = expect(answer).rejects.toThrow(/hang up|ECONNRESET/)
    service.kill('SIGTERM')
    await service.said(/^SIGTERM: shutting down/)
    service.kill('SIGINT')
    expect(await service.ended()).toBe('SIGINT')
    await cut
    await tx.rollback()
  })

  it('names the stuck request at the time limit, and exits with 1', async () => {
    context.mayHoldLong()
    await using service = new ServiceProcess({ ...(await variables()), SHUTDOWN_TIMEOUT: '0.3' })
    const url = await service.listening()
    const { body } = await request(url).post('/accounts').send({ owner: 'Ada', balance: 1000 }).expect(201)
    const { id } = body as { id: number }
    const outside = await context.open()
    const tx = await outside.begin()
    await tx.execute('UPDATE accounts SET balance = balance')
    const { answer } = await begin(`${url}/transfer`, { from_account: id, to_account: id + 1, amount: 1 })
    const cut = expect(answer).rejects.toThrow(/hang up|ECONNRESET/)
    service.kill('SIGTERM')
    expect(await service.ended()).toBe(1)
    expect(service.messages.at(-1)).toMatch(
      /The shutdown was not clean: not answered: POST \/transfer for 0\.\d s/,
    )
    await cut
    await tx.rollback()
  })

  it('names the port that is in use, exits with 1, and leaves no connection', async () => {
    const env = await variables()
    const occupant = createServer().listen(Number(env['PORT']), '127.0.0.1')
    await once(occupant, 'listening')
    await using service = new ServiceProcess(env)
    expect(await service.ended()).toBe(1)
    expect(service.complaints).toEqual([
      `millpond: Cannot listen: 127.0.0.1 port ${env['PORT']} is already in use. Stop the other program, or choose another port.`,
    ])
    occupant.close()
  })
})

describe('the process exits with one clear line', () => {
  it('and 1 when the database cannot be reached, without the password', async () => {
    const port = await freePort()
    await using service = new ServiceProcess({
      DATABASE_URL: `postgresql://app:hunter2@127.0.0.1:${port}/shop`,
      PRODUCTS_DATABASE_URL: 'sqlite://',
      DATABASE_CONNECT_TIMEOUT: '0.5',
      PORT: String(await freePort()),
    })
    expect(await service.ended()).toBe(1)
    expect(service.complaints).toEqual([expect.stringMatching(/^millpond: .*ECONNREFUSED.*/)])
    expect(service.messages[0]).toMatch(/^database main \(postgresql:\/\/app:\*\*\*@.*cannot be reached/)
    expect(service.everything).not.toContain('hunter2')
  })

  it.each([
    ['mysql://app:hunter2@localhost/shop', "'mysql://'"],
    ['postgresql://app:hunter2@localhost/shop?sslmod=require', "'sslmod'"],
    ['postgresql://app:hunter2@localhost:543210/shop', 'port'],
    ['hunter2', 'not a database URL'],
  ])('and 2 when a database URL is wrong, without the password: %s', async (url, reason) => {
    await using service = new ServiceProcess({ DATABASE_URL: url })
    expect(await service.ended()).toBe(2)
    expect(service.complaints).toHaveLength(1)
    expect(service.complaints[0]).toMatch(/^millpond: DATABASE_URL /)
    expect(service.complaints[0]).toContain(reason)
    expect(service.everything).not.toContain('hunter2')
  })

  it('for each setting that is wrong, and 2', async () => {
    await using service = new ServiceProcess({ PORT: 'http', LOG_LEVEL: 'loud', DATABASE_URL: 'sqlite://' })
    expect(await service.ended()).toBe(2)
    expect(service.complaints.toSorted()).toEqual([
      'millpond: LOG_LEVEL must be one of fatal, error, warn, info, debug, trace, silent',
      'millpond: PORT must be a whole number from 0 to 65535',
    ])
  })
})
