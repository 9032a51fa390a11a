/** The service around its routes: headers, conditional requests, logs, the index. */
import request from 'supertest'
import { waitFor } from '../support/wait-for'
import { eachService } from './support/open-service'

eachService('the service', (service) => {
  it('lists its entry points at /', async () => {
    const { body, headers } = await request(service.url).get('/').expect(200)
    expect(headers['content-type']).toContain('application/json')
    expect(body).toMatchObject({ calls: { 'POST /transfer': 'Move money from one account to another' } })
    for (const path of (body as { try: string[] }).try) await request(service.url).get(path).expect(200)
  })

  it("sends helmet's headers, and none that names the framework", async () => {
    const { headers } = await request(service.url).get('/users').expect(200)
    expect(headers).toMatchObject({ 'x-content-type-options': 'nosniff' })
    expect(headers).not.toHaveProperty('x-powered-by')
    const problem = await request(service.url).get('/users/0').expect(404)
    expect(problem.headers).toMatchObject({ 'x-content-type-options': 'nosniff' })
  })

  it('answers a conditional GET with 304 and no body', async () => {
    const { headers } = await request(service.url).get('/users').expect(200)
    const { etag } = headers as Record<string, string>
    await request(service.url)
      .get('/users')
      .set('If-None-Match', etag ?? '')
      .expect(304, '')
  })

  it('answers HEAD like GET, without the body', async () => {
    const get = await request(service.url).get('/users').expect(200)
    const head = await request(service.url).head('/users').expect(200)
    expect(head.headers['content-length']).toBe(get.headers['content-length'])
    expect(head.text).toBeUndefined()
  })

  it("logs one line per request, with the route and without the request's values", async () => {
    await request(service.url).get('/users/77?secret=hunter2').expect(422)
    const line = await waitFor(() => service.logged.find((one) => one['route'] === '/users/:id'))
    expect(line).toMatchObject({ method: 'GET', status: 422, level: 30 })
    expect(line['msg']).toMatch(/^GET \/users\/:id 422 \([\d.]+ ms\)$/)
    expect(line['durationMillis']).toEqual(expect.any(Number))
    expect(JSON.stringify(service.logged)).not.toContain('hunter2')
  })

  it('does not log health checks', async () => {
    await request(service.url).get('/livez').expect(200)
    await request(service.url).get('/readyz').expect(200)
    await request(service.url).get('/users').expect(200)
    await waitFor(() => service.logged.length > 0)
    expect(service.logged.map((one) => one['route'])).toEqual(['/users'])
  })
})
