/** Kysely over pg's pool. */
import { type Generated, Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { IDLE_MILLIS, judge, type NewPost, type OpenStore, POOL_SIZE } from './store'
import { toPost, type User } from './store'

interface Schema {
  users: User
  posts: NewPost & { id: Generated<number> }
  accounts: { id: number; balance: string | number }
  transfers: { from_account: number; to_account: number; amount: number }
}

export const open: OpenStore = (url) => {
  const pool = new pg.Pool({ connectionString: url, max: POOL_SIZE, idleTimeoutMillis: IDLE_MILLIS })
  const db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) })
  const postsWithAuthors = () =>
    db
      .selectFrom('posts')
      .innerJoin('users', 'users.id', 'posts.author_id')
      .select(['posts.id', 'posts.title', 'posts.content', 'posts.author_id', 'users.username'])

  return {
    user: (id) =>
      db.selectFrom('users').select(['id', 'username', 'email']).where('id', '=', id).executeTakeFirst(),

    async post(id) {
      const row = await postsWithAuthors().where('posts.id', '=', id).executeTakeFirst()
      return row && toPost(row)
    },

    async posts(limit) {
      return (await postsWithAuthors().orderBy('posts.id').limit(limit).execute()).map(toPost)
    },

    createPost: (post) =>
      db.insertInto('posts').values(post).returning(['id', 'title', 'author_id']).executeTakeFirstOrThrow(),

    transfer: (transfer) =>
      db.transaction().execute(async (trx) => {
        const { from, to, amount } = transfer
        const rows = await trx
          .selectFrom('accounts')
          .select(['id', 'balance'])
          .where('id', 'in', [from, to])
          .orderBy('id')
          .forUpdate()
          .execute()
        const verdict = judge(rows, transfer)
        if (verdict === 'done') {
          const change = (id: number, by: number) =>
            trx
              .updateTable('accounts')
              .set((row) => ({ balance: row('balance', '+', by) }))
              .where('id', '=', id)
              .execute()
          await change(from, -amount)
          await change(to, amount)
          await trx.insertInto('transfers').values({ from_account: from, to_account: to, amount }).execute()
        }
        return verdict
      }),
  }
}
