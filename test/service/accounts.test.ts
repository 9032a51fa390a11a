/** Accounts and transfers over HTTP: the sum of all balances stays the same. */
import request from 'supertest'
import { eachService } from './support/open-service'

interface Account {
  id: number
  owner: string
  balance: number
}

eachService(
  'accounts',
  (service) => {
    async function open(balance: number): Promise<number> {
      const { body } = await request(service.url)
        .post('/accounts')
        .send({ owner: 'Ada', balance })
        .expect(201)
      return (body as Account).id
    }
    async function balanceOf(id: number): Promise<number> {
      const { body } = await request(service.url).get(`/accounts/${id}`).expect(200)
      return (body as Account).balance
    }
    function transfer(from_account: number, to_account: number, amount: number): request.Test {
      return request(service.url).post('/transfer').send({ from_account, to_account, amount })
    }

    it('can be opened, read and listed', async () => {
      const { body, headers } = await request(service.url)
        .post('/accounts/')
        .send({ owner: 'Ada', balance: 5_000_000_001 })
        .expect(201)
      const { id } = body as Account
      expect(body).toEqual({ id, owner: 'Ada', balance: 5_000_000_001 })
      expect(headers).toHaveProperty('location', `/accounts/${id}`)
      await request(service.url).get(`/accounts/${id}`).expect(200, body)
      await request(service.url).get('/accounts').expect(200, [body])
      const unknown = await request(service.url).get('/accounts/999999').expect(404)
      expect(unknown.body).toHaveProperty('detail', 'Account not found')
    })

    it('move money', async () => {
      const [from, to] = [await open(100), await open(20)]
      await transfer(from, to, 30).expect(200, { message: 'Transfer successful' })
      expect([await balanceOf(from), await balanceOf(to)]).toEqual([70, 50])
      await transfer(to, from, 50).expect(200)
      expect([await balanceOf(from), await balanceOf(to)]).toEqual([120, 0])
    })

    it('accept a transfer by query parameters, as in the tutorial', async () => {
      const [from, to] = [await open(100), await open(0)]
      await request(service.url)
        .post('/transfer')
        .query({ from_account: from, to_account: to, amount: 100 })
        .expect(200)
      expect([await balanceOf(from), await balanceOf(to)]).toEqual([0, 100])
    })

    it.each([
      ['from the lower id', 0, 1],
      ['from the higher id', 1, 0],
    ])(
      'do not reveal whether the payee exists when the payer has too little money, %s',
      async (_name, payer, payee) => {
        const ids = [await open(1), await open(1)]
        const { body } = await transfer(ids[payer] ?? 0, ids[payee] ?? 0, Number.MAX_SAFE_INTEGER).expect(409)
        expect(body).toHaveProperty('detail', 'Insufficient funds')
      },
    )

    it.each([
      ['from the lower id', 0, 1],
      ['from the higher id', 1, 0],
    ])('cannot be overdrawn, %s, and no money moves', async (_name, payer, payee) => {
      const ids = [await open(100), await open(100)]
      const { body } = await transfer(ids[payer] ?? 0, ids[payee] ?? 0, 101).expect(409)
      expect(body).toMatchObject({ title: 'Conflict', detail: 'Insufficient funds' })
      expect([await balanceOf(ids[0] ?? 0), await balanceOf(ids[1] ?? 0)]).toEqual([100, 100])
    })

    it('are named when they do not exist, and no money moves', async () => {
      const known = await open(100)
      const unknown = known + 1000
      expect((await transfer(known, unknown, 1).expect(404)).body).toHaveProperty(
        'detail',
        `Account ${unknown} not found`,
      )
      expect((await transfer(unknown, known, 1).expect(404)).body).toHaveProperty(
        'detail',
        `Account ${unknown} not found`,
      )
      expect((await transfer(known, unknown, 1_000_000).expect(404)).body).toHaveProperty('status', 404)
      expect(await balanceOf(known)).toBe(100)
    })

    it('cannot exceed the largest exact JSON number', async () => {
      const [from, to] = [await open(10), await open(Number.MAX_SAFE_INTEGER - 5)]
      const { body } = await transfer(from, to, 6).expect(409)
      expect(body).toHaveProperty('detail', `The balance of account ${to} would become too large`)
      await transfer(from, to, 5).expect(200)
      expect([await balanceOf(from), await balanceOf(to)]).toEqual([5, Number.MAX_SAFE_INTEGER])
    })

    it.each([
      ['to itself', { from_account: 1, to_account: 1, amount: 1 }, ['body', 'to_account']],
      ['of nothing', { from_account: 1, to_account: 2, amount: 0 }, ['body', 'amount']],
      ['of less than nothing', { from_account: 1, to_account: 2, amount: -5 }, ['body', 'amount']],
      ['of a fraction', { from_account: 1, to_account: 2, amount: 0.5 }, ['body', 'amount']],
      ['of too much to be exact', { from_account: 1, to_account: 2, amount: 2 ** 53 }, ['body', 'amount']],
      ['of text', { from_account: 1, to_account: 2, amount: '5' }, ['body', 'amount']],
      ['to nobody', { from_account: 1, amount: 5 }, ['body', 'to_account']],
    ])('refuse a transfer %s', async (_what, body, loc) => {
      const answer = await request(service.url).post('/transfer').send(body).expect(422)
      expect((answer.body as { errors: object[] }).errors).toEqual([{ loc, msg: expect.any(String) }])
    })

    it('keep their sum through 64 concurrent transfers between four of them', async () => {
      const ids = [await open(100), await open(100), await open(100), await open(100)]
      const answers = await Promise.all(
        Array.from({ length: 64 }, (_, n) => {
          const from = n % 4
          const to = (from + 1 + (n % 3)) % 4
          return transfer(ids[from] ?? 0, ids[to] ?? 0, 10 + (n % 7) * 15)
        }),
      )
      const statuses = answers.map(({ statusCode }) => statusCode)
      expect(statuses.filter((status) => status !== 200 && status !== 409)).toEqual([])
      expect(statuses).toContain(200)
      expect(statuses).toContain(409)
      const balances = await Promise.all(ids.map(balanceOf))
      expect(balances.reduce((sum, balance) => sum + balance, 0)).toBe(400)
      expect(Math.min(...balances)).toBeGreaterThanOrEqual(0)
      expect(service.main.stats().used).toBe(0)
      expect(service.main.holders()).toEqual([])
    })
  },
  { rollsBack: false },
)
