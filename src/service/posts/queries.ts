/** The posts in the database, each read together with its author in one statement. */
import type { Queryable } from '../../database'
import type { Page } from '../page'

export interface Post {
  id: number
  title: string
  content: string
  author: { id: number; username: string }
}

interface PostRow {
  id: number
  title: string
  content: string
  author_id: number
  username: string
}

const POST_WITH_AUTHOR = `
  SELECT posts.id, posts.title, posts.content, posts.author_id, users.username
  FROM posts JOIN users ON users.id = posts.author_id`

function toPost({ id, title, content, author_id, username }: PostRow): Post {
  return { id, title, content, author: { id: author_id, username } }
}

export async function listPosts(database: Queryable, { after, limit }: Page): Promise<Post[]> {
  const rows = await database.fetchAll<PostRow>(
    `${POST_WITH_AUTHOR} WHERE posts.id > :after ORDER BY posts.id LIMIT :limit`,
    { after, limit },
  )
  return rows.map(toPost)
}

/** The posts of one user, or null when there is no such user. */
export async function listPostsOf(
  database: Queryable,
  userId: number,
  { after, limit }: Page,
): Promise<Post[] | null> {
  // The outer join keeps the user's row when there are no posts, which tells the two cases apart.
  const rows = await database.fetchAll<PostRow | (PostRow & { id: null })>(
    `SELECT posts.id, posts.title, posts.content, users.id AS author_id, users.username
     FROM users LEFT JOIN posts ON posts.author_id = users.id AND posts.id > :after
     WHERE users.id = :userId ORDER BY posts.id LIMIT :limit`,
    { userId, after, limit },
  )
  return rows.length === 0 ? null : rows.filter((row) => row.id !== null).map(toPost)
}

export async function findPost(database: Queryable, id: number): Promise<Post | null> {
  const row = await database.fetchOne<PostRow>(`${POST_WITH_AUTHOR} WHERE posts.id = :id`, { id })
  return row === null ? null : toPost(row)
}

/** @throws ForeignKeyViolationError when there is no such author */
export async function createPost(
  database: Queryable,
  post: { title: string; content: string; author_id: number },
): Promise<{ id: number; title: string; author_id: number }> {
  const { title, content, author_id } = post
  const id = await database.fetchVal<number>(
    'INSERT INTO posts (title, content, author_id) VALUES (:title, :content, :author_id) RETURNING id',
    { title, content, author_id },
  )
  if (id === null) throw new Error('INSERT … RETURNING gave no row.')
  return { id, title, author_id }
}

/** Leaves as it is what is not given, and returns whether there was such a post. */
export async function changePost(
  database: Queryable,
  id: number,
  changes: { title?: string | undefined; content?: string | undefined },
): Promise<boolean> {
  const { title = null, content = null } = changes
  const { rowCount } = await database.execute(
    'UPDATE posts SET title = COALESCE(:title, title), content = COALESCE(:content, content) WHERE id = :id',
    { id, title, content },
  )
  return rowCount > 0
}

export async function deletePost(database: Queryable, id: number): Promise<boolean> {
  const { rowCount } = await database.execute('DELETE FROM posts WHERE id = :id', { id })
  return rowCount > 0
}
