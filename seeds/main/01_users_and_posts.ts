/** A few users and their posts, for a database that has no users yet. */
import type { Knex } from 'knex'

const USERS = [
  { username: 'ada', email: 'ada@example.com' },
  { username: 'grace', email: 'grace@example.com' },
  { username: 'edgar', email: 'edgar@example.com' },
  { username: 'barbara', email: 'barbara@example.com' },
  { username: 'linus', email: 'linus@example.com' },
]

const POSTS = [
  {
    author: 'ada',
    title: 'The wheel turns whether you watch or not',
    content: 'A mill needs a steady head of water more than it needs a flood. So does a server.',
  },
  {
    author: 'ada',
    title: 'Notes on a second pond',
    content: 'One pond for the flour, one for the saw. Neither runs dry because the other is busy.',
  },
  {
    author: 'grace',
    title: 'Found a moth in the sluice',
    content: 'Taped it into the log book. The sluice has been fine since.',
  },
  {
    author: 'edgar',
    title: 'Every sack has a number',
    content: 'And no two sacks have the same one. It sounds dull until the day it is not so.',
  },
  {
    author: 'barbara',
    title: 'What a miller promises',
    content: 'If you bring grain you get flour, or your grain back. Never half of each.',
  },
  {
    author: 'linus',
    title: 'How to share one grindstone',
    content: 'Stand in line, take your turn, and put it back when you are done.',
  },
]

export async function seed(knex: Knex): Promise<void> {
  // Somebody's own rows are never touched.
  if (await knex('users').first('id')) return
  await knex.transaction(async (trx) => {
    // The database gives out the ids: explicit ones would leave PostgreSQL's sequence behind them.
    await trx('users').insert(USERS)
    for (const { author, ...post } of POSTS) {
      await trx('posts').insert({ ...post, author_id: trx('users').select('id').where({ username: author }) })
    }
  })
}
