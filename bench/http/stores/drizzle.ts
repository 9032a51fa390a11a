/** Drizzle over pg's pool, with what can be prepared prepared. */
import { eq, inArray, sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/node-postgres'
import { bigint, integer, pgTable, serial, text } from 'drizzle-orm/pg-core'
import pg from 'pg'
import { IDLE_MILLIS, judge, type OpenStore, POOL_SIZE, toPost } from './store'

const users = pgTable('users', {
  id: serial().primaryKey(),
  username: text().notNull(),
  email: text().notNull(),
})
const posts = pgTable('posts', {
  id: serial().primaryKey(),
  title: text().notNull(),
  content: text().notNull(),
  author_id: integer().notNull(),
})
const accounts = pgTable('accounts', {
  id: serial().primaryKey(),
  balance: bigint({ mode: 'number' }).notNull(),
})
const transfers = pgTable('transfers', {
  from_account: integer().notNull(),
  to_account: integer().notNull(),
  amount: bigint({ mode: 'number' }).notNull(),
})

export const open: OpenStore = (url) => {
  const pool = new pg.Pool({ connectionString: url, max: POOL_SIZE, idleTimeoutMillis: IDLE_MILLIS })
  const db = drizzle(pool)
  const postsWithAuthors = () =>
    db
      .select({
        id: posts.id,
        title: posts.title,
        content: posts.content,
        author_id: posts.author_id,
        username: users.username,
      })
      .from(posts)
      .innerJoin(users, eq(users.id, posts.author_id))
  const id = sql.placeholder('id')
  const findUser = db.select().from(users).where(eq(users.id, id)).prepare('user')
  const findPost = postsWithAuthors().where(eq(posts.id, id)).prepare('post')
  const listPosts = postsWithAuthors().orderBy(posts.id).limit(sql.placeholder('limit')).prepare('posts')
  const insertPost = db
    .insert(posts)
    .values({
      title: sql.placeholder('title'),
      content: sql.placeholder('content'),
      author_id: sql.placeholder('author_id'),
    })
    .returning({ id: posts.id, title: posts.title, author_id: posts.author_id })
    .prepare('create')

  return {
    user: async (userId) => (await findUser.execute({ id: userId }))[0],

    async post(postId) {
      const [row] = await findPost.execute({ id: postId })
      return row && toPost(row)
    },

    posts: async (limit) => (await listPosts.execute({ limit })).map(toPost),

    async createPost(post) {
      const [created] = await insertPost.execute({ ...post })
      if (created === undefined) throw new Error('nothing was inserted')
      return created
    },

    transfer: (transfer) =>
      db.transaction(async (tx) => {
        const { from, to, amount } = transfer
        const rows = await tx
          .select()
          .from(accounts)
          .where(inArray(accounts.id, [from, to]))
          .orderBy(accounts.id)
          .for('update')
        const verdict = judge(rows, transfer)
        if (verdict === 'done') {
          const change = (account: number, by: number) =>
            tx
              .update(accounts)
              .set({ balance: sql`${accounts.balance} + ${by}` })
              .where(eq(accounts.id, account))
          await change(from, -amount)
          await change(to, amount)
          await tx.insert(transfers).values({ from_account: from, to_account: to, amount })
        }
        return verdict
      }),
  }
}
