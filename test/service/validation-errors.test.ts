/** Invalid input: the right status, the mistakes and their places, nothing stored, no internals. */
import request from 'supertest'
import { eachService } from './support/open-service'

const LEAKS =
  /select |insert |update |users_|sqlite|postgres|constraint|node_modules|\/src\/|\.ts\b|at \w+ \(/i

interface Problem {
  readonly status: number
  readonly detail: string
  readonly errors?: readonly { loc: (string | number)[]; msg: string }[]
}

eachService('invalid input:', (service) => {
  afterEach(async () => {
    expect(await service.main.fetchVal('SELECT count(*) FROM users').then(Number)).toBe(0)
  })

  async function problemOf(call: request.Test, status: number): Promise<Problem> {
    const { body, headers, text, statusCode } = await call
    expect([statusCode, text]).toEqual([status, text])
    expect(headers['content-type']).toBe('application/problem+json; charset=utf-8')
    expect(headers).toHaveProperty('cache-control', 'no-store')
    expect(text).not.toMatch(LEAKS)
    expect(body).toMatchObject({ type: 'about:blank', status, detail: expect.any(String) })
    return body as Problem
  }

  function post(text: string, headers: Record<string, string> = {}): request.Test {
    return request(service.url)
      .post('/users')
      .set({ 'Content-Type': 'application/json', ...headers })
      .send(text)
  }

  const good = { username: 'ada', email: 'ada@example.com' }
  const long = 'x'.repeat(65)

  it.each([
    ['a missing field', { username: 'ada' }, ['email'], 'Required'],
    ['a field that is null', { ...good, email: null }, ['email'], /expected string/],
    ['a number for a text', { ...good, username: 7 }, ['username'], /expected string/],
    ['an object for a text', { ...good, username: { $ne: 1 } }, ['username'], /expected string/],
    ['a list for a text', { ...good, username: ['ada'] }, ['username'], /expected string/],
    ['an empty text', { ...good, username: '' }, ['username'], /Too small/],
    ['blanks', { ...good, username: '   ' }, ['username'], /Too small/],
    ['a text that is too long', { ...good, username: long }, ['username'], /Too big/],
    ['no email', { ...good, email: 'ada' }, ['email'], /email/],
    ['a NUL', { ...good, username: 'a\0da' }, ['username'], /Control characters/],
    ['a line break in a name', { ...good, username: 'a\nda' }, ['username'], /Control characters/],
    ['half of a character', { ...good, username: 'a\ud800da' }, ['username'], /broken Unicode/],
    ['a field that is not known', { ...good, role: 'admin' }, ['role'], 'Unknown field'],
  ])('%s is 422 with the place of the mistake', async (_what, body, loc, msg) => {
    const { errors } = await problemOf(request(service.url).post('/users').send(body), 422)
    expect(errors).toEqual([{ loc: ['body', ...loc], msg: expect.stringMatching(msg) }])
  })

  it.each([
    ['__proto__', '{"username":"ada","email":"ada@example.com","__proto__":{"admin":true}}'],
    ['constructor', '{"username":"ada","email":"ada@example.com","constructor":{"prototype":{}}}'],
  ])('the key %s is an unknown field like any other', async (key, text) => {
    const { errors } = await problemOf(post(text), 422)
    expect(errors).toEqual([{ loc: ['body', key], msg: 'Unknown field' }])
    expect(({} as Record<string, unknown>)['admin']).toBeUndefined()
  })

  it('the response names at most twenty mistakes', async () => {
    const many = Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`field${n}`, n]))
    const { errors } = await problemOf(request(service.url).post('/users').send(many), 422)
    expect(errors).toHaveLength(20)
  })

  it.each([
    ['a list', '[]'],
    ['a list of users', '[{"username":"ada","email":"ada@example.com"}]'],
  ])('%s for an object is 422', async (_what, text) => {
    const { errors } = await problemOf(post(text), 422)
    expect(errors).toMatchObject([{ loc: ['body'] }])
  })

  it('no body is 422, with every field missing', async () => {
    const { errors } = await problemOf(request(service.url).post('/users'), 422)
    expect(errors).toEqual([
      { loc: ['body', 'username'], msg: 'Required' },
      { loc: ['body', 'email'], msg: 'Required' },
    ])
  })

  it('wrong query parameters in place of a body are 422, and are named as such', async () => {
    const { errors } = await problemOf(request(service.url).post('/users?username=ada&emial=x'), 422)
    expect(errors).toEqual([
      { loc: ['query', 'email'], msg: 'Required' },
      { loc: ['query', 'emial'], msg: 'Unknown field' },
    ])
  })

  it('query parameters beside a body are 422, since one of the two would be ignored', async () => {
    const call = request(service.url).post('/users?username=eve').send(good)
    const { errors } = await problemOf(call, 422)
    expect(errors).toEqual([{ loc: ['query', 'username'], msg: 'Unknown field' }])
  })

  it.each([
    ['cut off', '{"username": "ada"'],
    ['no JSON', 'username=ada'],
    ['a lone text', '"ada"'],
    ['NaN', '{"username": NaN}'],
    ['deeply nested', '['.repeat(40_000)],
  ])('JSON that is %s is 400', async (_what, text) => {
    const { detail } = await problemOf(post(text), 400)
    expect(detail).toMatch(/^The body is not valid JSON/)
  })

  it('deep nesting that is valid JSON is 422', async () => {
    const nested = `${'['.repeat(40_000)}${']'.repeat(40_000)}`
    await problemOf(post(`{"username": ${nested}, "email": "ada@example.com"}`), 422)
  })

  it('a body that is too large is 413', async () => {
    const { detail } = await problemOf(post(JSON.stringify({ ...good, username: 'x'.repeat(200_000) })), 413)
    expect(detail).toBe('The body is larger than 102400 bytes.')
  })

  it.each([
    ['a form', { 'Content-Type': 'application/x-www-form-urlencoded' }, 'username=ada'],
    ['plain text', { 'Content-Type': 'text/plain' }, '{}'],
    ['another charset', { 'Content-Type': 'application/json; charset=utf-7x' }, '{}'],
    ['an encoding nobody knows', { 'Content-Encoding': 'zip' }, '{}'],
  ])('%s is 415', async (_what, headers, text) => {
    await problemOf(post(text, headers), 415)
  })

  it.each([
    ['1e400', 'amount'],
    ['12345678901234567890', 'amount'],
    ['-1e30', 'amount'],
    ['1.0000000000000002', 'amount'],
  ])('the number %s as an amount is 422', async (number, field) => {
    const text = `{"from_account": 1, "to_account": 2, "amount": ${number}}`
    const call = request(service.url).post('/transfer').set('Content-Type', 'application/json').send(text)
    const { errors } = await problemOf(call, 422)
    expect(errors?.[0]?.loc).toEqual(['body', field])
  })

  it("an id beyond the database's range is 422 in a body", async () => {
    const post = { title: 'x', content: 'x', author_id: 2 ** 31 }
    const { errors } = await problemOf(request(service.url).post('/posts').send(post), 422)
    expect(errors?.[0]?.loc).toEqual(['body', 'author_id'])
  })

  it.each([
    ['put', '/users/1', 'GET, PATCH, DELETE, HEAD, OPTIONS'],
    ['delete', '/users', 'GET, POST, HEAD, OPTIONS'],
    ['get', '/transfer', 'POST, OPTIONS'],
    ['post', '/', 'GET, HEAD, OPTIONS'],
  ] as const)('%s %s is 405, with the allowed methods', async (method, path, allow) => {
    const { headers } = await request(service.url)[method](path)
    expect(headers).toHaveProperty('allow', allow)
    await problemOf(request(service.url)[method](path), 405)
  })

  it.each(['/nothing', '/users/1/nothing', '/USERS2', '/users//1', '/livez/x', '/..%2fetc%2fpasswd'])(
    '%s is 404',
    async (path) => {
      await problemOf(request(service.url).get(path), 404)
    },
  )

  it('a path that cannot be decoded is 400', async () => {
    await problemOf(request(service.url).get('/users/%E0%A4%A'), 400)
  })

  it('a failure of the database is 500 for the client, and one line with all details in the log', async () => {
    await service.main.execute("INSERT INTO accounts (owner, balance) VALUES ('Ada', 1)")
    await service.main.execute('ALTER TABLE accounts RENAME TO gone')
    // A number beyond 64 bits: both databases fail when they read the row.
    const broken =
      'CREATE VIEW accounts AS SELECT id, owner, abs(-9223372036854775807 - 1) AS balance FROM gone'
    await service.main.execute(broken)
    try {
      const { detail } = await problemOf(request(service.url).get('/accounts'), 500)
      expect(detail).toBe('The server failed to answer this request. The failure was logged.')
    } finally {
      await service.main.execute('DROP VIEW accounts')
      await service.main.execute('ALTER TABLE gone RENAME TO accounts')
    }
    expect(service.logged).toContainEqual(
      expect.objectContaining({
        msg: 'GET /accounts failed',
        err: expect.objectContaining({ type: 'QueryError' }),
      }),
    )
  })
})
