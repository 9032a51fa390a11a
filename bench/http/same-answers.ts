/** Holds that all stacks answer the same, before anybody asks which is the fastest. */
import assert from 'node:assert/strict'
import { LIST_PATH, newPost } from './endpoints'
import type { Server } from './server-process'

const transfer = (from_account: number, to_account: number, amount: number): [string, object] => [
  '/transfer',
  { from_account, to_account, amount },
]

/** Path and body; without a body it is a GET. */
const CALLS: readonly [string, object?][] = [
  ['/users/7'],
  ['/users/999999'],
  ['/posts/7'],
  ['/posts/999999'],
  [LIST_PATH],
  ['/posts', newPost(7)],
  transfer(1, 2, 5),
  transfer(2, 1, 5),
  transfer(1, 2, 999_999_999),
  transfer(1, 999_999, 5),
  transfer(999_999, 1, 5),
]

/** @throws Error which names the stack that differs from the first one, and where */
export async function checkAnswers(servers: readonly Server[]): Promise<void> {
  const [first, ...others] = servers
  if (first === undefined) return
  for (const [path, body] of CALLS) {
    const expected = await ask(first, path, body)
    for (const other of others) {
      const message: string = `${other.stack.id} does not answer ${path} as ${first.stack.id} does`
      const actual: object = await ask(other, path, body)
      assert.deepEqual(actual, expected, `${message}: ${JSON.stringify({ actual, expected, body })}`)
    }
  }
}

async function ask({ port }: Server, path: string, body?: object): Promise<object> {
  const init = {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  }
  const response = await fetch(`http://127.0.0.1:${port}${path}`, body === undefined ? {} : init)
  const { status } = response
  const answer = (await response.json()) as { id?: number }
  // What went wrong, each says in its own words.
  if (status >= 400) return { status }
  // Each gives the post that it makes the next id.
  if (body !== undefined && typeof answer.id === 'number') answer.id = 0
  return { status, answer }
}
