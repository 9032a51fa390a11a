/** The history of transfers, and transfers that are repeated with their Idempotency-Key. */
import { setTimeout as delay } from 'node:timers/promises'
import request from 'supertest'
import { deleteOldKeys } from '../../src/service/idempotency'
import { randomFrom } from '../support/random-from'
import { waitFor } from '../support/wait-for'
import { unbalanced } from './support/ledger'
import { eachService, type Service } from './support/open-service'

interface Transfer {
  readonly id: number
  readonly from_account: number
  readonly to_account: number
  readonly amount: number
  readonly created_at: string
}

const done = { message: 'Transfer successful' }

/** Calls of the service. */
function clientOf(service: Service) {
  return {
    open: async (balance: number): Promise<number> => {
      const account = { owner: 'Ada', balance }
      const { body } = await request(service.url).post('/accounts').send(account).expect(201)
      return (body as { id: number }).id
    },
    balances: async (...ids: number[]): Promise<number[]> => {
      const answers = await Promise.all(ids.map((id) => request(service.url).get(`/accounts/${id}`)))
      return answers.map(({ body }) => (body as { balance: number }).balance)
    },
    transfer: (from: number, to: number, amount: number, key?: string): request.Test => {
      const sent = request(service.url).post('/transfer')
      if (key !== undefined) void sent.set('Idempotency-Key', key)
      return sent.send({ from_account: from, to_account: to, amount })
    },
    history: async (id: number): Promise<Transfer[]> => {
      const { body } = await request(service.url).get(`/accounts/${id}/transfers`).expect(200)
      return body as Transfer[]
    },
  }
}

eachService('the history of transfers', (service) => {
  const { open, transfer, history } = clientOf(service)

  it('has each movement once, for the payer and the payee, and no refused one', async () => {
    const [a, b] = [await open(100), await open(0)]
    await transfer(a, b, 60).expect(200)
    await transfer(a, b, 60).expect(409)
    await transfer(b, a, 10).expect(200)
    const moved = await history(a)
    expect(moved).toMatchObject([
      { from_account: a, to_account: b, amount: 60 },
      { from_account: b, to_account: a, amount: 10 },
    ])
    expect(await history(b)).toEqual(moved)
    for (const { created_at: at } of moved) expect(Math.abs(Date.parse(at) - Date.now())).toBeLessThan(60_000)
    const [first] = moved
    await request(service.url).get(`/transfers/${first?.id}`).expect(200, first)
    expect(await unbalanced(service.main)).toEqual([])
  })

  it('is paginated', async () => {
    const [a, b, c] = [await open(100), await open(100), await open(0)]
    for (const amount of [1, 2, 3, 4, 5]) await transfer(amount % 2 ? a : b, amount % 2 ? b : a, amount)
    await transfer(b, c, 50).expect(200)
    const amounts: number[] = []
    for (let path: string | undefined = `/accounts/${a}/transfers?limit=2`; path !== undefined;) {
      const { body, headers }: request.Response = await request(service.url).get(path).expect(200)
      amounts.push(...(body as Transfer[]).map(({ amount }) => amount))
      path = /<(.+)>; rel="next"/.exec(headers['link'] ?? '')?.[1]
    }
    expect(amounts).toEqual([1, 2, 3, 4, 5])
  })

  it('is empty for an account without transfers, and 404 for an unknown one', async () => {
    const account = await open(1)
    expect(await history(account)).toEqual([])
    const noAccount = await request(service.url).get('/accounts/999999/transfers').expect(404)
    expect(noAccount.body).toHaveProperty('detail', 'Account not found')
    const noTransfer = await request(service.url).get('/transfers/999999').expect(404)
    expect(noTransfer.body).toHaveProperty('detail', 'Transfer not found')
  })
})

eachService('a transfer with an Idempotency-Key', (service) => {
  const { open, transfer, balances, history } = clientOf(service)

  it('moves the money once when it is repeated, and gets the same answer', async () => {
    const [a, b] = [await open(100), await open(0)]
    for (const key of ['"k 1"', '"k 1"', '"k 1"']) await transfer(a, b, 70, key).expect(200, done)
    expect(await balances(a, b)).toEqual([30, 70])
    expect(await history(a)).toHaveLength(1)
    await transfer(a, b, 1, '"k 2"').expect(200)
    await transfer(a, b, 1).expect(200)
    await transfer(a, b, 1).expect(200)
    expect(await balances(a, b)).toEqual([27, 73])
  })

  it('may have its key in quotes or bare', async () => {
    const [a, b] = [await open(100), await open(0)]
    await transfer(a, b, 10, '8e03978e-40d5').expect(200, done)
    await transfer(a, b, 10, '"8e03978e-40d5"').expect(200, done)
    await transfer(a, b, 10, '"back\\\\slash"').expect(200, done)
    expect(await balances(a, b)).toEqual([80, 20])
  })

  it('is refused with 422 when the key was used for another transfer, and no money moves', async () => {
    const [a, b] = [await open(100), await open(100)]
    await transfer(a, b, 10, 'k').expect(200)
    for (const other of [transfer(a, b, 11, 'k'), transfer(b, a, 10, 'k')]) {
      const { body } = await other.expect(422)
      expect(body).toHaveProperty('detail', 'This Idempotency-Key was sent with another request before.')
    }
    expect(await balances(a, b)).toEqual([90, 110])
    await transfer(a, b, 10, 'k').expect(200, done)
  })

  it('stays refused though the payer has enough money later; a new key is needed', async () => {
    const [a, b] = [await open(10), await open(100)]
    const first = await transfer(a, b, 50, 'k').expect(409)
    expect(first.body).toHaveProperty('detail', 'Insufficient funds')
    await transfer(b, a, 100).expect(200)
    const again = await transfer(a, b, 50, 'k').expect(409)
    expect(again.body).toEqual(first.body)
    expect(again.headers['content-type']).toBe(first.headers['content-type'])
    await transfer(a, b, 51, 'k').expect(422)
    await transfer(a, b, 50, 'k2').expect(200)

    const unknown = await transfer(a, 999_999, 1, 'k3').expect(404)
    expect((await transfer(a, 999_999, 1, 'k3').expect(404)).body).toEqual(unknown.body)
    expect(await balances(a, b)).toEqual([60, 50])
  })

  it('does not use up its key when its input is invalid', async () => {
    const [a, b] = [await open(10), await open(10)]
    await transfer(a, a, 1, 'k').expect(422)
    await transfer(a, b, 1, 'k').expect(200)
    expect(await balances(a, b)).toEqual([9, 11])
  })

  it.each([
    ['empty', '""'],
    ['not closed', '"k'],
    ['two of them', '"a", "b"'],
    ['two bare ones', 'a, b'],
    ['with a parameter', '"a";b'],
    ['too long', 'k'.repeat(256)],
    ['too long in quotes', `"${'k'.repeat(256)}"`],
    ['not ASCII', '"\u00e9"'],
    ['with an escape that is none', '"a\\b"'],
  ])('refuses a key that is %s', async (_what, key) => {
    const [a, b] = [await open(10), await open(10)]
    const { body } = await transfer(a, b, 1, key).expect(422)
    expect(body).toMatchObject({ errors: [{ loc: ['header', 'idempotency-key'] }] })
    expect(await balances(a, b)).toEqual([10, 10])
  })

  it('accepts a key of 255 characters, and counts an escape as one', async () => {
    const [a, b] = [await open(10), await open(10)]
    await transfer(a, b, 1, 'k'.repeat(255)).expect(200)
    await transfer(a, b, 1, `"${'\\"'.repeat(255)}"`).expect(200)
    expect(await balances(a, b)).toEqual([8, 12])
  })

  it('has its key remembered for its lifetime, and forgotten afterwards', async () => {
    const [a, b] = [await open(10), await open(10)]
    for (const key of ['k1', 'k2', 'k3']) await transfer(a, b, 1, key).expect(200)
    expect(await deleteOldKeys(service.main)).toBe(0)
    await service.main.execute("UPDATE idempotency_keys SET created_at = :old WHERE key <> 'k3'", {
      old: new Date(Date.now() - 25 * 60 * 60 * 1000),
    })
    expect(await deleteOldKeys(service.main)).toBe(2)
    await transfer(a, b, 1, 'k1').expect(200)
    await transfer(a, b, 1, 'k3').expect(200)
    expect(await balances(a, b)).toEqual([6, 14])
    expect(await history(a)).toHaveLength(4)
  })

  it('has expired keys deleted in batches of some hundreds', async () => {
    const keys = Array.from({ length: 1234 }, (_, n) => ({
      key: `k${n}`,
      request: '',
      status: 200,
      detail: '',
    }))
    await service.main.executeMany(service.main.table('idempotency_keys'), keys)
    expect(await deleteOldKeys(service.main, -60_000)).toBe(1234)
    expect(await deleteOldKeys(service.main, -60_000)).toBe(0)
  })
})

eachService(
  'concurrent transfers',
  (service) => {
    const { open, transfer, balances, history } = clientOf(service)

    it('move the money once when sixteen have the same key, and all get the same answer', async () => {
      const [a, b] = [await open(1000), await open(0)]
      const answers = await Promise.all(Array.from({ length: 16 }, () => transfer(a, b, 10, 'k')))
      for (const { status, body } of answers) expect([status, body]).toEqual([200, done])
      expect(await balances(a, b)).toEqual([990, 10])
      expect(await history(a)).toHaveLength(1)
      expect(await service.main.fetchAll('SELECT key FROM idempotency_keys')).toEqual([{ key: 'k' }])
    })

    it('are all refused the same when sixteen have the same key', async () => {
      const [a, b] = [await open(1), await open(0)]
      const answers = await Promise.all(Array.from({ length: 16 }, () => transfer(a, b, 10, 'k')))
      expect(answers.map(({ status }) => status)).toEqual(Array(16).fill(409))
      expect(new Set(answers.map(({ text }) => text)).size).toBe(1)
    })

    it('wait for a running one with the same key, and get its answer', async () => {
      const [a, b] = [await open(1000), await open(0)]
      const first = await service.main.begin()
      await first.execute("INSERT INTO idempotency_keys VALUES ('k', '-', 200, 'Done', CURRENT_TIMESTAMP)")
      let isAnswered = false
      const second = transfer(a, b, 10, 'k').then((answer) => {
        isAnswered = true
        return answer
      })
      await isWaiting(service)
      expect(isAnswered).toBe(false)
      await first.commit()
      expect((await second).status).toBe(422)
      expect(await balances(a, b)).toEqual([1000, 0])
    })

    it('run when the one with the same key that they waited for is rolled back', async () => {
      const [a, b] = [await open(1000), await open(0)]
      const first = await service.main.begin()
      await first.execute("INSERT INTO idempotency_keys VALUES ('k', '-', 200, 'Done', CURRENT_TIMESTAMP)")
      const waiting = [transfer(a, b, 10, 'k'), transfer(a, b, 10, 'k')].map((sent) =>
        sent.then((answer) => answer),
      )
      await isWaiting(service)
      await first.rollback()
      expect((await Promise.all(waiting)).map(({ status }) => status)).toEqual([200, 200])
      expect(await balances(a, b)).toEqual([990, 10])
    })

    it('keep every balance equal to the opening balance and the history', async () => {
      const seed = Number(process.env['MILLPOND_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
      const random = randomFrom(seed)
      const ids = await Promise.all(Array.from({ length: 6 }, (_, n) => open(n * 50)))
      const anId = (): number => ids[random(ids.length)] ?? 0
      let isOver = false
      const watching = (async () => {
        // Checked at any time, not only at the end.
        for (let looks = 1; ; looks += 1) {
          const wrong = await unbalanced(service.main)
          if (isOver || wrong.length > 0) return { wrong, looks }
          await delay(1)
        }
      })()
      const statuses: number[] = []
      await Promise.all(
        Array.from({ length: 16 }, async (_, client) => {
          for (let n = 0; n < 12; n += 1) {
            const key = random(2) === 0 ? undefined : `k${random(30)}`
            const { status } = await transfer(anId(), anId(), 1 + random(60), key)
            statuses.push(status)
            if (client === 0 && n === 6) await open(7)
          }
        }),
      )
      isOver = true
      const { wrong, looks } = await watching
      expect({ seed, wrong }).toEqual({ seed, wrong: [] })
      expect(looks).toBeGreaterThan(5)
      expect(new Set(statuses)).toEqual(new Set([200, 409, 422]))
      const sum = (await balances(...ids)).reduce((all, balance) => all + balance, 0)
      expect(sum).toBe(750)
    })
  },
  { rollsBack: false },
)

/** Resolves when a statement of the service waits for a row lock or for the turn of SQLite's writer. */
async function isWaiting({ context, main }: Service): Promise<void> {
  await waitFor(async () => {
    if (context.dialect === 'sqlite') return main.stats().waiting > 0
    const [row] = await context.admin(
      "SELECT count(*)::integer AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
    )
    return Number(row?.['n']) > 0
  })
}
