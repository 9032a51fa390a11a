/** TypeORM with entities. */
import { DataSource, EntitySchema, In } from 'typeorm'
import { IDLE_MILLIS, judge, type OpenStore, POOL_SIZE, type Post, type User } from './store'

const id = { type: Number, primary: true, generated: 'increment' } as const

const users = new EntitySchema<User>({
  name: 'users',
  columns: { id, username: { type: 'text' }, email: { type: 'text' } },
})
const posts = new EntitySchema<Post & { author_id: number }>({
  name: 'posts',
  columns: { id, title: { type: 'text' }, content: { type: 'text' }, author_id: { type: Number } },
  relations: { author: { type: 'many-to-one', target: 'users', joinColumn: { name: 'author_id' } } },
})
const accounts = new EntitySchema<{ id: number; balance: string }>({
  name: 'accounts',
  columns: { id, balance: { type: 'bigint' } },
})
const transfers = new EntitySchema<{ id: number; from_account: number; to_account: number; amount: number }>({
  name: 'transfers',
  columns: { id, from_account: { type: Number }, to_account: { type: Number }, amount: { type: 'bigint' } },
})

const WITH_AUTHOR = {
  relations: { author: true },
  select: { id: true, title: true, content: true, author: { id: true, username: true } },
} as const

export const open: OpenStore = async (url) => {
  const source = await new DataSource({
    type: 'postgres',
    url,
    entities: [users, posts, accounts, transfers],
    extra: { max: POOL_SIZE, idleTimeoutMillis: IDLE_MILLIS },
  }).initialize()
  const userRepository = source.getRepository(users)
  const postRepository = source.getRepository(posts)

  return {
    user: async (userId) => (await userRepository.findOneBy({ id: userId })) ?? undefined,

    post: async (postId) =>
      (await postRepository.findOne({ ...WITH_AUTHOR, where: { id: postId } })) ?? undefined,

    posts: (limit) => postRepository.find({ ...WITH_AUTHOR, order: { id: 'ASC' }, take: limit }),

    async createPost(post) {
      const saved = await postRepository.save({ ...post })
      return { id: saved.id, title: saved.title, author_id: saved.author_id }
    },

    transfer: (transfer) =>
      source.transaction(async (manager) => {
        const { from, to, amount } = transfer
        const repository = manager.getRepository(accounts)
        const rows = await repository.find({
          where: { id: In([from, to]) },
          order: { id: 'ASC' },
          lock: { mode: 'pessimistic_write' },
        })
        const verdict = judge(rows, transfer)
        if (verdict === 'done') {
          await repository.decrement({ id: from }, 'balance', amount)
          await repository.increment({ id: to }, 'balance', amount)
          await manager.getRepository(transfers).insert({ from_account: from, to_account: to, amount })
        }
        return verdict
      }),
  }
}
