/** Lists: sorting, filters, and pages that show each row once. */
import request from 'supertest'
import { eachService } from './support/open-service'

type Row = { readonly id: number } & Record<string, unknown>

eachService('lists', (service) => {
  async function create(path: string, body: object): Promise<number> {
    const answer = await request(service.url).post(path).send(body).expect(201)
    return (answer.body as Row).id
  }

  async function page(path: string): Promise<{ rows: Row[]; next: string | undefined }> {
    const answer = await request(service.url).get(path).expect(200)
    const [, next] = /^<(.+)>; rel="next"$/.exec(answer.get('link') ?? '') ?? []
    return { rows: answer.body as Row[], next }
  }

  /** Reads every row of a list by following its links. */
  async function walk(path: string): Promise<Row[]> {
    const all: Row[] = []
    for (let at: string | undefined = path; at !== undefined;) {
      const { rows, next } = await page(at)
      all.push(...rows)
      at = next
    }
    return all
  }

  const user = (name: string): Promise<number> =>
    create('/users', { username: name, email: `${name}@example.com` })

  // More rows are equal in their sort column than fit on a page.
  const TITLES = ['b', 'a', 'b', 'Z', 'b', 'a', 'b', 'é']
  const PRICES = [300, 100, 300, 5_000_000_000, 300, 100, 300]

  /** The ids ordered by a column and then by id. The database decides how texts compare. */
  async function expected(table: string, column: string, descending: boolean): Promise<unknown[]> {
    const database = table === 'products' ? service.products : service.main
    const direction = descending ? 'DESC' : 'ASC'
    const rows = await database.fetchAll<{ id: number }>(
      `SELECT id FROM ${table} ORDER BY ${column} ${direction}, id ${direction}`,
    )
    return rows.map(({ id }) => id)
  }

  async function fill(): Promise<number> {
    const ada = await user('ada')
    await user('grace')
    await user('Edgar')
    for (const title of TITLES) await create('/posts', { title, content: 'x', author_id: ada })
    for (const owner of TITLES) await create('/accounts', { owner, balance: 1 })
    for (const [n, price] of PRICES.entries()) await create('/products', { name: `n${n % 3}`, price })
    return ada
  }

  it.each([
    ['users', 'id'],
    ['users', 'username'],
    ['posts', 'id'],
    ['posts', 'title'],
    ['accounts', 'id'],
    ['accounts', 'owner'],
    ['products', 'id'],
    ['products', 'name'],
    ['products', 'price'],
  ])('show each of the %s once, by %s, forwards and backwards, in pages of two', async (table, column) => {
    await fill()
    const forwards = await expected(table, column, false)
    expect(forwards.length).toBeGreaterThan(2)
    expect((await walk(`/${table}?limit=2&sort=${column}`)).map(({ id }) => id)).toEqual(forwards)
    const backwards = await expected(table, column, true)
    expect((await walk(`/${table}?limit=2&sort=-${column}`)).map(({ id }) => id)).toEqual(backwards)
    expect(backwards).toEqual(forwards.toReversed())
  })

  it('show the posts of one user in any order, and no others', async () => {
    const ada = await fill()
    const grace = await user('grace2')
    const other = await create('/posts', { title: 'b', content: 'x', author_id: grace })
    const byTitle = (await expected('posts', 'title', true)).filter((id) => id !== other)
    for (const path of [
      `/users/${ada}/posts?sort=-title&limit=3`,
      `/posts?author_id=${ada}&sort=-title&limit=3`,
    ])
      expect((await walk(path)).map(({ id }) => id)).toEqual(byTitle)
    expect((await walk(`/posts?author_id=${grace}`)).map(({ id }) => id)).toEqual([other])
    expect(await walk('/posts?author_id=2147483647')).toEqual([])
  })

  it('are filtered by equality, and products by their price', async () => {
    await fill()
    expect(await walk('/users?username=grace')).toMatchObject([{ username: 'grace' }])
    expect(await walk('/users?email=ada@example.com')).toMatchObject([{ username: 'ada' }])
    expect(await walk('/users?username=grace&email=ada@example.com')).toEqual([])
    expect((await walk('/accounts?owner=b&limit=3')).map(({ owner }) => owner)).toEqual(['b', 'b', 'b', 'b'])
    const prices = async (query: string): Promise<unknown[]> =>
      (await walk(`/products?limit=2&sort=price&${query}`)).map(({ price }) => price)
    expect(await prices('min_price=300')).toEqual([300, 300, 300, 300, 5_000_000_000])
    expect(await prices('max_price=299')).toEqual([100, 100])
    expect(await prices('min_price=101&max_price=300')).toEqual([300, 300, 300, 300])
    expect(await prices('min_price=300&max_price=100')).toEqual([])
  })

  it('neither skip nor repeat a row when rows are inserted and deleted between two pages', async () => {
    await fill()
    const first = await page('/products?sort=price&limit=3')
    const seen = first.rows.map(({ id }) => id)
    const rest = (await expected('products', 'price', false)).slice(3)
    // The row that the next page begins after, and one that would come before it.
    await request(service.url)
      .delete(`/products/${seen.at(-1)}`)
      .expect(204)
    await create('/products', { name: 'cheap', price: 1 })
    expect((await walk(first.next ?? '')).map(({ id }) => id)).toEqual(rest)
  })

  it('keep their filters, order and page size in the link to the next page', async () => {
    await fill()
    const { next } = await page('/products?min_price=100&sort=-price&limit=1')
    const { pathname, searchParams } = new URL(next ?? '', service.url)
    expect(pathname).toBe('/products')
    expect(Object.fromEntries(searchParams)).toEqual({
      min_price: '100',
      sort: '-price',
      limit: '1',
      after: expect.stringMatching(/^[\w-]+$/),
    })
  })

  it('refuse a cursor of another order, a forged one, and anything else', async () => {
    await fill()
    const { next } = await page('/products?sort=price&limit=1')
    const after = new URL(next ?? '', service.url).searchParams.get('after') ?? ''
    const forged = (...place: unknown[]): string => Buffer.from(JSON.stringify(place)).toString('base64url')
    await request(service.url).get(`/products?sort=price&after=${after}`).expect(200)
    for (const query of [
      `sort=name&after=${after}`,
      `sort=-price&after=${after}`,
      `after=${after}`,
      'sort=price&after=1',
      'sort=price&after=',
      'after=-1',
      'after=1e3',
      'after=2147483648',
      `sort=price&after=${forged('price', '1; DROP TABLE products', 1)}`,
      `sort=price&after=${forged('price', 1.5, 1)}`,
      `sort=price&after=${forged('price', 1, 0)}`,
      `sort=price&after=${forged('price', 1)}`,
      `sort=name&after=${forged('name', 'a\0b', 1)}`,
      `sort=name&after=${forged('name', { a: 1 }, 1)}`,
    ]) {
      const { body } = await request(service.url).get(`/products?${query}`).expect(422)
      expect(body).toMatchObject({
        detail: 'The query is not valid.',
        errors: [{ loc: ['query', 'after'], msg: expect.stringMatching(/^Not a place in this list/) }],
      })
    }
  })

  it.each([
    ['users', 'sort=email'],
    ['users', 'sort=created_at'],
    ['users', 'sort=id;drop table users'],
    ['posts', 'sort=content'],
    ['posts', 'title=x'],
    ['posts', 'author_id=ada'],
    ['accounts', 'sort=balance'],
    ['accounts', 'balance=1'],
    ['products', 'min_price=-1'],
    ['products', 'min_price=1.5'],
    ['products', 'sort=price&sort=name'],
  ])('of %s refuse %s', async (table, query) => {
    const { body } = await request(service.url).get(`/${table}?${query}`).expect(422)
    expect((body as { errors: unknown[] }).errors).toMatchObject([{ loc: ['query', query.split('=')[0]] }])
  })

  /** The plan of a query in one line. */
  async function plan(table: string, query: string): Promise<string> {
    const database = table === 'products' ? service.products : service.main
    return database.transaction(async (tx) => {
      if (service.context.dialect === 'sqlite') {
        const steps = await tx.fetchAll<{ detail: string }>(`EXPLAIN QUERY PLAN ${query}`)
        return steps.map(({ detail }) => detail).join('; ')
      }
      // For a few rows the planner uses no index.
      await tx.execute('SET LOCAL enable_seqscan = off')
      await tx.execute('SET LOCAL enable_bitmapscan = off')
      const steps = await tx.fetchAll(`EXPLAIN ${query}`)
      return steps.map((step) => String(Object.values(step)[0])).join('; ')
    })
  }

  it.each([
    ['users', "(username, id) > ('a', 1) ORDER BY username, id"],
    ['users', "(username, id) < ('a', 1) ORDER BY username DESC, id DESC"],
    ['posts', "(title, id) > ('a', 1) ORDER BY title, id"],
    ['posts', "(title, id) < ('a', 1) ORDER BY title DESC, id DESC"],
    ['posts', 'author_id = 1 AND id > 1 ORDER BY id'],
    ['accounts', "(owner, id) > ('a', 1) ORDER BY owner, id"],
    ['accounts', "owner = 'a' AND id > 1 ORDER BY id"],
    ['products', "(name, id) > ('a', 1) ORDER BY name, id"],
    ['products', '(price, id) > (1, 1) ORDER BY price, id'],
    ['products', '(price, id) < (1, 1) ORDER BY price DESC, id DESC'],
  ])('of %s use an index: %s', async (table, clause) => {
    await fill()
    const found = await plan(table, `SELECT * FROM ${table} WHERE ${clause} LIMIT 2`)
    expect(found).toMatch(/\b\w+_(index|unique)\b/)
    // PostgreSQL sorts equal usernames by id; there is at most one.
    expect(found).not.toMatch(/Seq Scan|SCAN |TEMP B-TREE|->  Sort\b/)
  })
})
