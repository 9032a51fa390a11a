/** Posts over HTTP. */
import * as z from 'zod'
import { type Database, ForeignKeyViolationError } from '../../database'
import { HttpProblem } from '../../express'
import { atLeastOne, id, line, text } from '../field-schemas'
import { paginatedList } from '../pagination'
import { type Route, route } from '../route'
import { findUser } from '../users/queries'
import { changePost, createPost, deletePost, findPost, listPosts, type Post } from './queries'

const title = line(200).meta({ examples: ['Notes on a second pond'] })
const content = text(100_000).meta({ examples: ['One pond for the flour, one for the saw.'] })
const post = z
  .object({
    id,
    title: z.string().meta({ examples: ['Notes on a second pond'] }),
    content: z.string().meta({ examples: ['One pond for the flour, one for the saw.'] }),
    author: z.object({ id, username: z.string().meta({ examples: ['ada'] }) }),
  })
  .meta({ id: 'Post' })
const createdPost = z
  .object({ id, title: z.string().meta({ examples: ['Notes on a second pond'] }), author_id: id })
  .meta({ id: 'CreatedPost' })
const one = z.object({ id })

const sorts = ['title'] as const
const posts = paginatedList({ sorts, filters: { author_id: id.optional() } })
const postsOfOne = paginatedList({ sorts, filters: {} })

const NOT_FOUND = 'Post not found'
const NO_AUTHOR = 'User not found'

export function postRoutes(database: Database): Route[] {
  return [
    route(
      {
        method: 'get',
        path: '/posts',
        summary: 'List posts with their authors',
        input: { query: posts.query },
        answers: { 200: z.array(post) },
      },
      ({ query }) => posts.answer('/posts', query, (page) => listPosts(database, page, query)),
    ),
    route(
      {
        method: 'get',
        path: '/users/{id}/posts',
        summary: 'List the posts of a user',
        input: { params: one, query: postsOfOne.query },
        answers: { 200: z.array(post) },
        problems: { 404: NO_AUTHOR },
      },
      ({ params, query }) =>
        postsOfOne.answer(`/users/${params.id}/posts`, query, async (page) => {
          const theirs = await listPosts(database, page, { author_id: params.id })
          // Only an empty page can mean that the user does not exist.
          if (theirs.rows.length === 0 && (await findUser(database, params.id)) === null)
            throw new HttpProblem(404, NO_AUTHOR)
          return theirs
        }),
    ),
    route(
      {
        method: 'post',
        path: '/posts',
        summary: 'Create a post',
        input: { body: z.strictObject({ title, content, author_id: id }) },
        answers: { 201: createdPost },
        problems: { 404: NO_AUTHOR },
      },
      async ({ body }) => {
        const created = await createPost(database, body).catch(refuseAuthor)
        return { status: 201, body: created, headers: { Location: `/posts/${created.id}` } }
      },
    ),
    route(
      {
        method: 'get',
        path: '/posts/{id}',
        summary: 'Read a post with its author',
        input: { params: one },
        answers: { 200: post },
        problems: { 404: NOT_FOUND },
      },
      async ({ params }) => ({ status: 200, body: found(await findPost(database, params.id)) }),
    ),
    route(
      {
        method: 'patch',
        path: '/posts/{id}',
        summary: 'Change a post',
        input: { params: one, body: atLeastOne({ title: title.optional(), content: content.optional() }) },
        answers: { 200: post },
        problems: { 404: NOT_FOUND },
      },
      async ({ params, body }) => ({
        status: 200,
        body: found(await changePost(database, params.id, body)),
      }),
    ),
    route(
      {
        method: 'delete',
        path: '/posts/{id}',
        summary: 'Delete a post',
        input: { params: one },
        answers: { 204: null },
        problems: { 404: NOT_FOUND },
      },
      async ({ params }) => {
        if (!(await deletePost(database, params.id))) throw new HttpProblem(404, NOT_FOUND)
        return { status: 204, body: null }
      },
    ),
  ]
}

function found(row: Post | null): Post {
  if (row === null) throw new HttpProblem(404, NOT_FOUND)
  return row
}

function refuseAuthor(error: unknown): never {
  if (error instanceof ForeignKeyViolationError) throw new HttpProblem(404, NO_AUTHOR, { cause: error })
  throw error
}
