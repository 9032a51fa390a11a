/** Random sequential calls: the service answers each like a small model in memory. */
import { rounds } from '../support/rounds'
import { randomFrom } from '../support/random-from'
import { report } from '../support/report'
import { SpecifiedService } from './support/openapi'
import { eachService } from './support/open-service'
import { type Reply, ServiceModel } from './support/service-model'

/** MILLPOND_SEED repeats a run. */
const SEED = process.env['MILLPOND_SEED']
const CALLS = rounds(150, 500)
const UNKNOWN_ID = 1_000_000

interface Answer {
  readonly status: number
  readonly body: unknown
}

eachService(
  'the service',
  (service) => {
    it('answers any sequence of calls like a model in memory', async () => {
      const seed = SEED === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(SEED)
      const random = randomFrom(seed)
      const model = new ServiceModel()
      const specified = await SpecifiedService.of(service.url)
      // A key is sent only where the document has one.
      const hasKeys = JSON.stringify(specified.operation('POST /transfer')).includes('Idempotency-Key')
      const keys: string[] = []
      let issued = 0
      const statuses: Record<string, number> = {}

      async function send(method: string, address: string, body?: object, key?: string): Promise<Answer> {
        const response = await fetch(new URL(address, service.url), {
          method,
          ...(body !== undefined && {
            body: JSON.stringify(body),
            headers: {
              'Content-Type': 'application/json',
              ...(key !== undefined && { 'Idempotency-Key': key }),
            },
          }),
        })
        const text = await response.text()
        statuses[response.status] = (statuses[response.status] ?? 0) + 1
        return { status: response.status, body: text === '' ? null : JSON.parse(text) }
      }
      /** The id of the created row, or undefined for a refusal. */
      const idOf = ({ body }: Answer): number => Number((body as { id?: number }).id)
      const some = (ids: Iterable<number>): number => {
        const all = [...ids, UNKNOWN_ID]
        return all[random(all.length)] ?? UNKNOWN_ID
      }
      // Few names, so that they collide; in lower case and of one length, so that every collation sorts them the same.
      const word = (): string => `${'abcdefgh'[random(8)]}${'abcdefgh'[random(8)]}`
      const email = (): string => `${word()}@example.org`
      /** At least one of the fields. */
      function someOf<T extends object>(fields: T): Partial<T> {
        const entries = Object.entries(fields)
        const first = random(entries.length)
        return Object.fromEntries(
          entries.filter((_, index) => index === first || random(2) > 0),
        ) as Partial<T>
      }

      const calls: (() => Promise<[Answer, Reply]>)[] = [
        async () => {
          const user = { username: word(), email: email() }
          const answer = await send('POST', '/users', user)
          return [answer, model.createUser(user, idOf(answer))]
        },
        async () => {
          const [id, changes] = [some(model.users.keys()), someOf({ username: word(), email: email() })]
          return [await send('PATCH', `/users/${id}`, changes), model.changeUser(id, changes)]
        },
        async () => {
          const id = random(3) === 0 ? some(model.users.keys()) : UNKNOWN_ID
          return [await send('DELETE', `/users/${id}`), model.deleteUser(id)]
        },
        async () => {
          const post = { title: word(), content: 'Text', author_id: some(model.users.keys()) }
          const answer = await send('POST', '/posts', post)
          return [answer, model.createPost(post, idOf(answer))]
        },
        async () => {
          const [id, changes] = [some(model.posts.keys()), someOf({ title: word(), content: word() })]
          return [await send('PATCH', `/posts/${id}`, changes), model.changePost(id, changes)]
        },
        async () => {
          const id = some(model.posts.keys())
          return [await send('GET', `/posts/${id}`), model.findPost(id)]
        },
        async () => {
          const id = some(model.posts.keys())
          return [await send('DELETE', `/posts/${id}`), model.deletePost(id)]
        },
        async () => {
          const account = { owner: word(), balance: random(1_000) }
          const answer = await send('POST', '/accounts', account)
          return [answer, model.createAccount(account, idOf(answer))]
        },
        ...Array.from({ length: 4 }, () => async (): Promise<[Answer, Reply]> => {
          const [from, to] = [some(model.accounts.keys()), some(model.accounts.keys())]
          const amount = 1 + random(600)
          const body = { from_account: from, to_account: to, amount }
          const key = hasKeys && random(2) > 0 ? `key-${(issued += 1)}` : undefined
          const answer = await send('POST', '/transfer', body, key)
          const expected = model.transfer(from, to, amount, key)
          if (key === undefined || expected.status !== 200) return [answer, expected]
          // The same transfer again gets the same answer, another amount under the same key is refused; neither moves money.
          keys.push(key)
          const again = await send('POST', '/transfer', body, key)
          const other = await send('POST', '/transfer', { ...body, amount: amount + 1 }, key)
          const refusal = model.transfer(from, to, amount + 1, key)
          return [
            { status: answer.status, body: [answer, again, other.status] },
            { status: expected.status, body: [expected, expected, refusal.status] },
          ]
        }),
        async () => {
          const product = { name: word(), description: random(2) > 0 ? word() : null, price: random(50) }
          const answer = await send('POST', '/products', product)
          return [answer, model.createProduct(product, idOf(answer))]
        },
        async () => {
          const id = some(model.products.keys())
          const changes = someOf({
            name: word(),
            description: random(2) > 0 ? word() : null,
            price: random(50),
          })
          return [await send('PATCH', `/products/${id}`, changes), model.changeProduct(id, changes)]
        },
        async () => {
          const id = some(model.products.keys())
          return [await send('DELETE', `/products/${id}`), model.deleteProduct(id)]
        },
      ]
      const LISTS = { users: 'username', posts: 'title', accounts: 'owner', products: 'price' } as const

      /** Reads a list page by page by its `Link` headers. */
      async function pagesOf(table: keyof typeof LISTS, sort: string): Promise<unknown[]> {
        const rows: unknown[] = []
        let address: string | undefined = `/${table}?sort=${sort}&limit=${1 + random(40)}`
        while (address !== undefined) {
          const response: Response = await fetch(new URL(address, service.url))
          rows.push(...((await response.json()) as unknown[]))
          address = /^<(.*)>/.exec(response.headers.get('link') ?? '')?.[1]
        }
        return rows
      }
      async function compareLists(): Promise<void> {
        for (const table of Object.keys(LISTS) as (keyof typeof LISTS)[]) {
          const sort = ['id', '-id', LISTS[table], `-${LISTS[table]}`][random(4)] ?? 'id'
          expect([seed, sort, await pagesOf(table, sort)]).toEqual([seed, sort, model.listed(table, sort)])
        }
      }

      for (let count = 1; count <= CALLS; count += 1) {
        const [answer, expected] = await (calls[random(calls.length)] as (typeof calls)[number])()
        const { status, body } = answer
        const isWhole = expected.body !== undefined
        expect([seed, count, status, isWhole ? body : null]).toEqual([
          seed,
          count,
          expected.status,
          isWhole ? expected.body : null,
        ])
        if (count % 100 === 0) await compareLists()
      }
      report(`calls beside a model, on ${service.context.dialect}`, { seed, keys: keys.length, ...statuses })
      for (const status of ['200', '201', '204', '404', '409']) expect(statuses).toHaveProperty(status)
    }, 180_000)
  },
  { rollsBack: false },
)
