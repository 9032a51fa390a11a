/** The statements of the peers that write SQL, as PostgreSQL's drivers take it. */

const POST_WITH_AUTHOR = `SELECT posts.id, posts.title, posts.content, posts.author_id, users.username
  FROM posts JOIN users ON users.id = posts.author_id`

export const STATEMENTS = {
  user: 'SELECT id, username, email FROM users WHERE id = $1',
  post: `${POST_WITH_AUTHOR} WHERE posts.id = $1`,
  posts: `${POST_WITH_AUTHOR} ORDER BY posts.id LIMIT $1`,
  createPost:
    'INSERT INTO posts (title, content, author_id) VALUES ($1, $2, $3) RETURNING id, title, author_id',
  lockAccounts: 'SELECT id, balance FROM accounts WHERE id IN ($1, $2) ORDER BY id FOR UPDATE',
  addToBalance: 'UPDATE accounts SET balance = balance + $2 WHERE id = $1',
  writeDown: 'INSERT INTO transfers (from_account, to_account, amount) VALUES ($1, $2, $3)',
} as const
