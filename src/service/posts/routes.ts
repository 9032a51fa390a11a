/** Posts over HTTP. */
import { z } from 'zod'
import { type Database, ForeignKeyViolationError } from '../../database'
import { HttpProblem } from '../../express'
import { atLeastOne, id, line, text } from '../fields'
import { pageAnswer, pageOf, pageQuery } from '../page'
import { type Route, route } from '../route'
import { changePost, createPost, deletePost, findPost, listPosts, listPostsOf } from './queries'

const title = line(200)
const content = text(100_000)
const post = z
  .object({ id, title: z.string(), content: z.string(), author: z.object({ id, username: z.string() }) })
  .meta({ id: 'Post' })
const createdPost = z.object({ id, title: z.string(), author_id: id }).meta({ id: 'CreatedPost' })
const one = z.object({ id })

const NOT_FOUND = 'Post not found'
const NO_AUTHOR = 'User not found'

export function postRoutes(database: Database): Route[] {
  return [
    route(
      {
        method: 'get',
        path: '/posts',
        summary: 'List posts with their authors',
        input: { query: pageQuery },
        answers: { 200: z.array(post) },
      },
      async ({ query }) => pageAnswer('/posts', await listPosts(database, pageOf(query)), query),
    ),
    route(
      {
        method: 'get',
        path: '/users/{id}/posts',
        summary: 'List the posts of a user',
        input: { params: one, query: pageQuery },
        answers: { 200: z.array(post) },
        problems: { 404: NO_AUTHOR },
      },
      async ({ params, query }) => {
        const posts = await listPostsOf(database, params.id, pageOf(query))
        if (posts === null) throw new HttpProblem(404, NO_AUTHOR)
        return pageAnswer(`/users/${params.id}/posts`, posts, query)
      },
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
      async ({ params }) => ({ status: 200, body: await readPost(database, params.id) }),
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
      async ({ params, body }) => {
        const changed = await database.transaction(async (tx) => {
          await changePost(tx, params.id, body)
          return readPost(tx, params.id)
        })
        return { status: 200, body: changed }
      },
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

async function readPost(database: Parameters<typeof findPost>[0], postId: number) {
  const found = await findPost(database, postId)
  if (found === null) throw new HttpProblem(404, NOT_FOUND)
  return found
}

function refuseAuthor(error: unknown): never {
  if (error instanceof ForeignKeyViolationError) throw new HttpProblem(404, NO_AUTHOR, { cause: error })
  throw error
}
