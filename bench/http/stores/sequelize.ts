/** Sequelize with models. */
import { DataTypes, Sequelize } from 'sequelize'
import { type CreatedPost, IDLE_MILLIS, judge, type OpenStore, POOL_SIZE } from './store'
import type { Post, User } from './store'

const { TEXT, INTEGER, BIGINT } = DataTypes

export const open: OpenStore = (url) => {
  const sequelize = new Sequelize(url, {
    logging: false,
    pool: { max: POOL_SIZE, idle: IDLE_MILLIS },
    define: { timestamps: false },
  })
  const users = sequelize.define('users', { username: TEXT, email: TEXT })
  const posts = sequelize.define('posts', { title: TEXT, content: TEXT, author_id: INTEGER })
  const accounts = sequelize.define('accounts', { balance: BIGINT })
  const transfers = sequelize.define('transfers', {
    from_account: INTEGER,
    to_account: INTEGER,
    amount: BIGINT,
  })
  posts.belongsTo(users, { as: 'author', foreignKey: 'author_id' })
  const withAuthor = {
    attributes: ['id', 'title', 'content'],
    include: [{ model: users, as: 'author', attributes: ['id', 'username'] }],
  }

  return {
    user: async (id) => (await users.findByPk(id))?.toJSON<User>(),

    post: async (id) => (await posts.findByPk(id, withAuthor))?.toJSON<Post>(),

    async posts(limit) {
      const found = await posts.findAll({ ...withAuthor, order: ['id'], limit })
      return found.map((post) => post.toJSON<Post>())
    },

    async createPost(post) {
      const { id, title, author_id } = (await posts.create({ ...post })).toJSON<CreatedPost>()
      return { id, title, author_id }
    },

    transfer: (transfer) =>
      sequelize.transaction(async (transaction) => {
        const { from, to, amount } = transfer
        const rows = await accounts.findAll({
          where: { id: [from, to] },
          order: ['id'],
          lock: transaction.LOCK.UPDATE,
          transaction,
        })
        const verdict = judge(
          rows.map((row) => row.toJSON<{ id: number; balance: string }>()),
          transfer,
        )
        if (verdict === 'done') {
          await accounts.decrement('balance', { by: amount, where: { id: from }, transaction })
          await accounts.increment('balance', { by: amount, where: { id: to }, transaction })
          await transfers.create({ from_account: from, to_account: to, amount }, { transaction })
        }
        return verdict
      }),
  }
}
