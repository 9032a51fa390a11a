/** HTTP statuses for unusual requests: content negotiation, conditional requests, methods, Location. */
import request from 'supertest'
import { eachService } from './support/open-service'

eachService('the service', (service) => {
  const ada = { username: 'ada', email: 'ada@example.com' }

  it.each([
    'text/html',
    'application/xml',
    'image/*',
    'application/json;q=0',
    'text/html, application/json;q=0, */*;q=0',
  ])('answers 406 to a client that accepts only %s, and does nothing', async (accept) => {
    const { body, headers } = await request(service.url)
      .post('/users')
      .set('Accept', accept)
      .send(ada)
      .expect(406)
    expect(headers['content-type']).toBe('application/problem+json; charset=utf-8')
    expect(body).toMatchObject({ status: 406, title: 'Not Acceptable' })
    await request(service.url).get('/users').expect(200, [])
  })

  it.each([
    '*/*',
    'application/json',
    'application/*',
    'application/json; charset=utf-8',
    'text/html,application/xhtml+xml,*/*;q=0.8',
    'application/problem+json, application/json',
  ])('answers a client that accepts %s', async (accept) => {
    await request(service.url).get('/users').set('Accept', accept).expect(200, [])
  })

  it('answers a conditional GET with 304 until something changes', async () => {
    const first = await request(service.url).get('/users').expect(200)
    const ask = (etag: string): request.Test => request(service.url).get('/users').set('If-None-Match', etag)
    await ask(first.get('etag') ?? '').expect(304, '')
    await ask(`"other", ${first.get('etag')}`).expect(304, '')
    await ask('*').expect(304, '')
    await request(service.url).post('/users').send(ada).expect(201)
    const { body } = await ask(first.get('etag') ?? '').expect(200)
    expect(body).toHaveLength(1)
  })

  it('sends a Location relative to the server, which is valid behind any proxy', async () => {
    const post = (path: string, body: object): request.Test => request(service.url).post(path).send(body)
    for (const [path, body] of [
      ['/users', ada],
      ['/accounts/', { owner: 'Ada', balance: 1 }],
      ['/products/', { name: 'Rye', price: 1 }],
    ] as const) {
      const { headers, body: made } = await post(path, body).expect(201)
      const { location } = headers as Record<string, string>
      expect(location).toBe(`${path.replace(/\/$/, '')}/${(made as { id: number }).id}`)
      await request(service.url)
        .get(location ?? '')
        .expect(200, made as object)
    }
  })

  it.each([
    '/users',
    '/users/',
    '/posts',
    '/accounts',
    '/products',
    '/users/7',
    '/users/7/posts',
    '/transfer',
  ])('answers OPTIONS %s with the allowed methods, and 405 to each of the others', async (path) => {
    const { headers } = await request(service.url).options(path).expect(204)
    const allowed = (headers['allow'] as string).split(', ')
    expect(allowed).toContain('OPTIONS')
    const others = (['get', 'post', 'put', 'patch', 'delete'] as const).filter(
      (method) => !allowed.includes(method.toUpperCase()),
    )
    expect(others.length).toBeGreaterThan(0)
    for (const method of others) {
      const call = request(service.url)[method](path)
      const answer = await call.send({ big: 'x'.repeat(200_000) }).expect(405)
      expect(answer.headers).toHaveProperty('allow', headers['allow'])
    }
  })

  it('answers HEAD with the headers of GET, for lists with a next page too', async () => {
    await request(service.url).post('/users').send(ada).expect(201)
    await request(service.url).post('/users').send({ username: 'b', email: 'b@example.com' }).expect(201)
    const get = await request(service.url).get('/users?limit=1').expect(200)
    const head = await request(service.url).head('/users?limit=1').expect(200)
    for (const name of ['link', 'etag', 'content-length', 'content-type'])
      expect([name, head.get(name)]).toEqual([name, get.get(name)])
    expect(get.get('link')).toMatch(/rel="next"/)
    await request(service.url).head('/users/999999').expect(404)
  })

  it('checks the path and the method before it reads a body', async () => {
    const statusOf = async (path: string): Promise<number> => {
      const { status } = await request(service.url)
        .post(path)
        .set('Content-Type', 'application/json')
        .send('{')
      return status
    }
    expect([await statusOf('/nothing'), await statusOf('/users/1'), await statusOf('/users')]).toEqual([
      404, 405, 400,
    ])
  })
})
