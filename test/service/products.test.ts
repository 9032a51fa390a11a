/** Products over HTTP, from the second database. */
import request from 'supertest'
import { QueryError } from '../../src/database'
import { eachService } from './support/open-service'

interface Product {
  id: number
  name: string
  description: string | null
  price: number
}

eachService('products', (service) => {
  async function create(product: object): Promise<Product> {
    const { body } = await request(service.url).post('/products').send(product).expect(201)
    return body as Product
  }

  it('are stored in the second database, and not in the first', async () => {
    const product = await create({ name: 'Rye flour', description: 'Dark', price: 480 })
    await request(service.url).get(`/products/${product.id}`).expect(200, product)
    expect(await service.products.fetchVal('SELECT name FROM products')).toBe('Rye flour')
    await expect(service.main.fetchVal('SELECT name FROM products')).rejects.toThrow(QueryError)
  })

  it('are served while the first database is unreachable', async () => {
    const product = await create({ name: 'Rye flour', price: 480 })
    await service.main.disconnect()
    await request(service.url).get(`/products/${product.id}`).expect(200, product)
    await request(service.url).get('/users').expect(503)
    const { body } = await request(service.url).get('/readyz').expect(503)
    expect(body).toMatchObject({ databases: { main: 'NOT_CONNECTED', products: 'ready' } })
  })

  it('may have no description, and may lose it', async () => {
    const product = await create({ name: 'Rye flour', price: 480 })
    expect(product).toEqual({ id: product.id, name: 'Rye flour', description: null, price: 480 })
    const change = (changes: object) => request(service.url).patch(`/products/${product.id}`).send(changes)
    expect((await change({ description: 'Dark' }).expect(200)).body).toHaveProperty('description', 'Dark')
    const priced = await change({ price: 500 }).expect(200)
    expect(priced.body).toMatchObject({ description: 'Dark', price: 500, name: 'Rye flour' })
    expect((await change({ description: null }).expect(200)).body).toHaveProperty('description', null)
  })

  it('have exact prices up to the largest safe integer', async () => {
    const price = Number.MAX_SAFE_INTEGER
    const product = await create({ name: 'The mill', price })
    await request(service.url).get(`/products/${product.id}`).expect(200, product)
    expect(product.price).toBe(price)
    const { id } = await create({ name: 'A stone', price: 3_000_000_001 })
    const { body } = await request(service.url).get(`/products/${id}`).expect(200)
    expect(body).toHaveProperty('price', 3_000_000_001)
  })

  it('can be listed, and deleted', async () => {
    const { id } = await create({ name: 'Rye flour', price: 480 })
    expect((await request(service.url).get('/products/').expect(200)).body).toHaveLength(1)
    await request(service.url).delete(`/products/${id}`).expect(204)
    for (const call of [
      request(service.url).get(`/products/${id}`),
      request(service.url).patch(`/products/${id}`).send({ price: 1 }),
      request(service.url).delete(`/products/${id}`),
    ]) {
      expect((await call.expect(404)).body).toHaveProperty('detail', 'Product not found')
    }
  })
})
