/** postgres.js, which names its statements by itself. */
import postgres from 'postgres'
import { type CreatedPost, judge, type OpenStore, POOL_SIZE, type PostRow } from './store'
import { toPost, type User } from './store'

export const open: OpenStore = (url) => {
  const sql = postgres(url, { max: POOL_SIZE })
  const postsWithAuthors = sql`SELECT posts.id, posts.title, posts.content, posts.author_id, users.username
    FROM posts JOIN users ON users.id = posts.author_id`

  return {
    async user(id) {
      const [user] = await sql<User[]>`SELECT id, username, email FROM users WHERE id = ${id}`
      return user
    },

    async post(id) {
      const [row] = await sql<PostRow[]>`${postsWithAuthors} WHERE posts.id = ${id}`
      return row && toPost(row)
    },

    async posts(limit) {
      return (await sql<PostRow[]>`${postsWithAuthors} ORDER BY posts.id LIMIT ${limit}`).map(toPost)
    },

    async createPost({ title, content, author_id }) {
      const [created] = await sql<CreatedPost[]>`
        INSERT INTO posts (title, content, author_id) VALUES (${title}, ${content}, ${author_id})
        RETURNING id, title, author_id`
      if (created === undefined) throw new Error('nothing was inserted')
      return created
    },

    transfer: (transfer) =>
      sql.begin(async (tx) => {
        const { from, to, amount } = transfer
        const rows = await tx<{ id: number; balance: string }[]>`
          SELECT id, balance FROM accounts WHERE id IN (${from}, ${to}) ORDER BY id FOR UPDATE`
        const verdict = judge(rows, transfer)
        if (verdict === 'done') {
          await tx`UPDATE accounts SET balance = balance - ${amount} WHERE id = ${from}`
          await tx`UPDATE accounts SET balance = balance + ${amount} WHERE id = ${to}`
          await tx`
            INSERT INTO transfers (from_account, to_account, amount) VALUES (${from}, ${to}, ${amount})`
        }
        return verdict
      }),
  }
}
