/** Hostile requests: refused, without internals in the response, and without a connection held for long. */
import request from 'supertest'
import { eachService } from './support/open-service'

eachService('a hostile client', (service) => {
  it.each([
    ['__proto__ in the body', '{"username":"ada","email":"ada@example.org","__proto__":{"isAdmin":true}}'],
    [
      'constructor in the body',
      '{"username":"ada","email":"ada@example.org","constructor":{"prototype":{}}}',
    ],
    ['prototype in the body', '{"username":"ada","email":"ada@example.org","prototype":1}'],
    ['__proto__ alone', '{"__proto__":{"username":"ada","email":"ada@example.org"}}'],
  ])('is refused with 422 for %s', async (_what, body) => {
    const { body: answer } = await request(service.url)
      .post('/users')
      .set('Content-Type', 'application/json')
      .send(body)
      .expect(422)
    expect(JSON.stringify(answer)).not.toContain('isAdmin')
    await request(service.url).get('/users').expect(200, [])
    expect(Object.prototype).not.toHaveProperty('isAdmin')
  })

  it.each(['__proto__=1', 'constructor=1', '__proto__[isAdmin]=1', 'constructor[prototype][isAdmin]=1'])(
    'is refused with 422 for the query %s',
    async (query) => {
      await request(service.url).get(`/users?${query}`).expect(422)
      await request(service.url).post(`/users?username=ada&email=ada@example.org&${query}`).expect(422)
      expect(Object.prototype).not.toHaveProperty('isAdmin')
    },
  )

  it('gets security headers, and none that names the framework', async () => {
    const { headers } = await request(service.url)
      .get('/users')
      .set('Origin', 'https://evil.example')
      .expect(200)
    expect(headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'SAMEORIGIN',
      'content-security-policy': expect.stringContaining("default-src 'self'"),
      'strict-transport-security': expect.any(String),
    })
    for (const name of ['x-powered-by', 'server', 'access-control-allow-origin'])
      expect(headers).not.toHaveProperty(name)
  })

  it('gets 413 for a body that is too large, and 431 for headers that are too large', async () => {
    const large = await request(service.url)
      .post('/users')
      .send({ username: 'x'.repeat(110_000) })
      .expect(413)
    expect(large.headers['content-type']).toContain('application/problem+json')
    await request(service.url).get('/users').set('X-Large', 'x'.repeat(17_000)).expect(431)
  })
})
