/** Users over HTTP. */
import request from 'supertest'
import { eachService } from './support/open-service'

interface User {
  id: number
  username: string
  email: string
}

eachService('the users routes', (service) => {
  async function create(username: string): Promise<User> {
    const { body } = await request(service.url)
      .post('/users')
      .send({ username, email: `${username}@example.com` })
      .expect(201)
    return body as User
  }

  it('create a user and read it back', async () => {
    const created = await request(service.url)
      .post('/users')
      .send({ username: 'ada', email: 'ada@example.com' })
      .expect(201)
    const { id } = created.body as User
    expect(created.body).toEqual({ id: expect.any(Number), username: 'ada', email: 'ada@example.com' })
    expect(created.headers).toHaveProperty('location', `/users/${id}`)
    await request(service.url).get(`/users/${id}`).expect(200, created.body)
  })

  it('accept the fields in the query when there is no body, as in the tutorial', async () => {
    const { body } = await request(service.url)
      .post('/users/')
      .query({ username: 'ada', email: 'ada@example.com' })
      .expect(201)
    expect(body).toMatchObject({ username: 'ada', email: 'ada@example.com' })
  })

  it.each([
    '999999',
    '0',
    '-1',
    '1.5',
    'abc',
    '01',
    '1e3',
    '2147483648',
    '99999999999999999999',
    '%00',
    ' 1',
  ])('answer 404 with a detail for the id %j', async (id) => {
    const { body, headers } = await request(service.url)
      .get(`/users/${encodeURI(id)}`)
      .expect(404)
    expect(body).toEqual({
      type: 'about:blank',
      title: 'Not Found',
      status: 404,
      detail: 'User not found',
    })
    expect(headers['content-type']).toContain('application/problem+json')
  })

  it('name the taken field, and keep the first user', async () => {
    await create('ada')
    const username = { username: 'ada', email: 'other@example.com' }
    const { body } = await request(service.url).post('/users').send(username).expect(409)
    expect(body).toHaveProperty('detail', 'Username is already taken')
    const email = { username: 'other', email: 'ada@example.com' }
    const second = await request(service.url).post('/users').send(email).expect(409)
    expect(second.body).toHaveProperty('detail', 'Email is already taken')
    const { body: users } = await request(service.url).get('/users').expect(200)
    expect(users).toHaveLength(1)
  })

  it('create one user when many concurrent requests have the same name', async () => {
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, n) =>
        request(service.url)
          .post('/users')
          .send({ username: 'ada', email: `${n}@example.com` }),
      ),
    )
    const statuses = answers.map(({ statusCode }) => statusCode)
    expect(statuses.toSorted((a, b) => a - b)).toEqual([201, ...Array<number>(7).fill(409)])
  })

  it('list users in pages, with links to the next one', async () => {
    for (const name of ['ada', 'grace', 'edgar', 'barbara', 'linus']) await create(name)
    const names: string[] = []
    const sizes: number[] = []
    for (let next: string | undefined = '/users?limit=2'; next !== undefined;) {
      const answer: request.Response = await request(service.url).get(next).expect(200)
      const users = answer.body as User[]
      names.push(...users.map(({ username }) => username))
      sizes.push(users.length)
      next = /^<(.+)>; rel="next"$/.exec(answer.get('link') ?? '')?.[1]
    }
    expect(names).toEqual(['ada', 'grace', 'edgar', 'barbara', 'linus'])
    expect(sizes).toEqual([2, 2, 1])
  })

  it('have no next page when the last one is full', async () => {
    await create('ada')
    await create('grace')
    const { headers } = await request(service.url).get('/users?limit=2').expect(200)
    expect(headers).not.toHaveProperty('link')
  })

  it('return an empty list when there are no users', async () => {
    await request(service.url).get('/users').expect(200, [])
    await request(service.url).get('/users/').expect(200, [])
  })

  it.each(['limit=0', 'limit=101', 'limit=abc', 'limit=1&limit=2', 'after=0', 'after=x', 'limt=5'])(
    'refuse a list with %s',
    async (query) => {
      const { body } = await request(service.url).get(`/users?${query}`).expect(422)
      const [name] = query.split('=')
      expect(body).toMatchObject({ detail: 'The query is not valid.', errors: [{ loc: ['query', name] }] })
    },
  )

  it('change the given fields only', async () => {
    const { id } = await create('ada')
    const { body } = await request(service.url)
      .patch(`/users/${id}`)
      .send({ username: 'lovelace' })
      .expect(200)
    expect(body).toEqual({ id, username: 'lovelace', email: 'ada@example.com' })
    await request(service.url).get(`/users/${id}`).expect(200, body)
    await request(service.url).patch(`/users/999999`).send({ username: 'x' }).expect(404)
    await create('grace')
    await request(service.url).patch(`/users/${id}`).send({ username: 'grace' }).expect(409)
  })

  it('refuse a change without fields', async () => {
    const { id } = await create('ada')
    const { body } = await request(service.url).patch(`/users/${id}`).send({}).expect(422)
    expect(body).toMatchObject({ errors: [{ loc: ['body'], msg: 'Give at least one field to change' }] })
  })

  it('delete a user and their posts', async () => {
    const { id } = await create('ada')
    const post = { title: 'One', content: 'Text', author_id: id }
    const { body } = await request(service.url).post('/posts').send(post).expect(201)
    await request(service.url).delete(`/users/${id}`).expect(204, {})
    await request(service.url).get(`/users/${id}`).expect(404)
    await request(service.url)
      .get(`/posts/${(body as User).id}`)
      .expect(404)
    await request(service.url).delete(`/users/${id}`).expect(404)
  })

  it('trim names, and accept every language', async () => {
    const { body } = await request(service.url)
      .post('/users')
      .send({ username: '  Åsa 水車 🌾 ', email: ' asa@example.com ' })
      .expect(201)
    expect(body).toMatchObject({ username: 'Åsa 水車 🌾', email: 'asa@example.com' })
  })
})
