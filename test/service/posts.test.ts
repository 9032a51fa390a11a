/** Posts over HTTP, each with its author in one statement. */
import request from 'supertest'
import { eachService } from './support/open-service'

eachService(
  'the posts routes',
  (service) => {
    let author: number

    beforeEach(async () => {
      const user = { username: 'ada', email: 'ada@example.com' }
      const { body } = await request(service.url).post('/users').send(user).expect(201)
      author = (body as { id: number }).id
    })

    async function create(title: string): Promise<number> {
      const post = { title, content: `About ${title}`, author_id: author }
      const { body } = await request(service.url).post('/posts').send(post).expect(201)
      return (body as { id: number }).id
    }

    /** How many statements the requests made in `work` send to the main database. */
    async function statements(work: () => Promise<unknown>): Promise<number> {
      let count = 0
      const listener = (): void => void count++
      service.main.on('query', listener)
      try {
        await work()
      } finally {
        service.main.off('query', listener)
      }
      return count
    }

    it('create a post and read it with its author', async () => {
      const post = { title: 'Wheels', content: 'Round.\n\tMostly.', author_id: author }
      const created = await request(service.url).post('/posts/').send(post).expect(201)
      const { id } = created.body as { id: number }
      expect(created.body).toEqual({ id, title: 'Wheels', author_id: author })
      expect(created.headers).toHaveProperty('location', `/posts/${id}`)
      const { body } = await request(service.url).get(`/posts/${id}`).expect(200)
      expect(body).toEqual({
        id,
        title: 'Wheels',
        content: 'Round.\n\tMostly.',
        author: { id: author, username: 'ada' },
      })
    })

    it('accept the fields in the query when there is no body', async () => {
      const { body } = await request(service.url)
        .post('/posts')
        .query({ title: 'Wheels', content: 'Round', author_id: author })
        .expect(201)
      expect(body).toMatchObject({ title: 'Wheels', author_id: author })
    })

    it('answer 404 when the author is unknown, and store nothing', async () => {
      const post = { title: 'Wheels', content: 'Round', author_id: 999_999 }
      const { body } = await request(service.url).post('/posts').send(post).expect(404)
      expect(body).toHaveProperty('detail', 'User not found')
      await request(service.url).get('/posts').expect(200, [])
    })

    it('read one post, or a page of them, in one statement', async () => {
      const id = await create('One')
      await create('Two')
      expect(await statements(() => request(service.url).get(`/posts/${id}`).expect(200))).toBe(1)
      expect(await statements(() => request(service.url).get('/posts').expect(200))).toBe(1)
      expect(await statements(() => request(service.url).get(`/users/${author}/posts`).expect(200))).toBe(1)
    })

    it('list posts in pages', async () => {
      const ids = [await create('One'), await create('Two'), await create('Three')]
      const { body, headers } = await request(service.url).get('/posts?limit=2').expect(200)
      expect((body as { id: number }[]).map(({ id }) => id)).toEqual(ids.slice(0, 2))
      expect(headers).toHaveProperty('link', `</posts?limit=2&after=${ids[1]}>; rel="next"`)
    })

    it("list one user's posts, and distinguish a user without posts from an unknown user", async () => {
      const user = { username: 'grace', email: 'grace@example.com' }
      const { body } = await request(service.url).post('/users').send(user).expect(201)
      const { id: grace } = body as { id: number }
      const ids = [await create('One'), await create('Two')]
      const first = await request(service.url).get(`/users/${author}/posts?limit=1`).expect(200)
      expect(first.body).toMatchObject([{ id: ids[0], author: { id: author, username: 'ada' } }])
      expect(first.headers).toHaveProperty(
        'link',
        `</users/${author}/posts?limit=1&after=${ids[0]}>; rel="next"`,
      )
      const second = await request(service.url)
        .get(`/users/${author}/posts?limit=1&after=${ids[0]}`)
        .expect(200)
      expect(second.body).toMatchObject([{ id: ids[1] }])
      await request(service.url).get(`/users/${author}/posts?after=${ids[1]}`).expect(200, [])
      await request(service.url).get(`/users/${grace}/posts`).expect(200, [])
      const unknown = await request(service.url).get('/users/999999/posts').expect(404)
      expect(unknown.body).toHaveProperty('detail', 'User not found')
    })

    it('change and delete a post', async () => {
      const id = await create('One')
      const { body } = await request(service.url).patch(`/posts/${id}`).send({ title: 'Uno' }).expect(200)
      expect(body).toMatchObject({ id, title: 'Uno', content: 'About One', author: { username: 'ada' } })
      await request(service.url).delete(`/posts/${id}`).expect(204)
      for (const call of [
        request(service.url).get(`/posts/${id}`),
        request(service.url).patch(`/posts/${id}`).send({ title: 'x' }),
        request(service.url).delete(`/posts/${id}`),
      ]) {
        expect((await call.expect(404)).body).toHaveProperty('detail', 'Post not found')
      }
    })

    it('store a long text unchanged', async () => {
      const content = 'millpond 🌾 '.repeat(5000).slice(0, 60_000)
      const post = { title: 'Long', content, author_id: author }
      const { body } = await request(service.url).post('/posts').send(post).expect(201)
      const read = await request(service.url)
        .get(`/posts/${(body as { id: number }).id}`)
        .expect(200)
      expect((read.body as { content: string }).content).toBe(content)
    })
  },
  { rollsBack: false },
)
