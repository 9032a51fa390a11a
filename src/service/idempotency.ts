/** Requests that may be sent again: what is asked under an Idempotency-Key is done once, and answered the same each time. */
import { createHash } from 'node:crypto'
import * as z from 'zod'
import type { Queryable } from '../database'
import { HttpProblem } from '../express'

/**
 * The header, in quotes as the draft of its standard has it, or bare, as most clients send it; both are the same key.
 * https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
 */
export const idempotencyKey = z
  .string()
  .regex(
    /^(?:"(?:[ !#-[\]-~]|\\["\\]){1,255}"|[!#-+\--:<-[\]-~]{1,255})$/,
    'Must be 1 to 255 printable ASCII characters, in quotes if a space, comma, semicolon, quote or backslash is among them',
  )
  .transform((text) => (text.startsWith('"') ? text.slice(1, -1).replace(/\\(.)/g, '$1') : text))
  .meta({
    description: 'Makes it safe to send the request again: what is sent under one key is done once.',
    examples: ['"8e03978e-40d5-43dd-bc93-6894a57f9324"'],
  })

interface Asked {
  readonly key: string | undefined
  /** What tells it from any other request under the same key. */
  readonly request: readonly unknown[]
  /** What the client is told when it is done. */
  readonly done: string
}

/** How a key was answered: 200, or the status of the HttpProblem that it was refused with. */
interface Answer {
  readonly status: number
  readonly detail: string
}

const RETRIES = { retries: 3 }

/**
 * Runs work in a transaction; with a key, once for all requests with that key. The key and its answer are stored in the
 * same transaction as what the work does, so that one is never there without the other. A request that comes while the
 * first one is open waits for it, and runs the work itself if that one is rolled back.
 *
 * A refusal, which is an HttpProblem that the work throws, is stored as well: whoever was told that nothing has
 * happened must be able to rely on it, even if an earlier copy of the request arrives later. Any other failure is
 * not, so that the same key can be sent again.
 *
 * @returns what `done` was when the work was done
 * @throws HttpProblem what the work has refused with, now or the first time; 422 for the key of another request
 */
export async function answerOnce(
  database: Queryable,
  { key, request, done }: Asked,
  work: (tx: Queryable) => Promise<void>,
): Promise<string> {
  if (key === undefined) {
    await database.transaction(work, RETRIES)
    return done
  }
  const hash = createHash('sha256').update(JSON.stringify(request)).digest('base64url')
  const answerWith = (answer: Answer, doing: (tx: Queryable) => Promise<void>): Promise<Answer> =>
    database.transaction(async (tx) => {
      if (!(await claim(tx, key, hash, answer))) return recall(tx, key, hash)
      await doing(tx)
      return answer
    }, RETRIES)
  let answer: Answer
  try {
    answer = await answerWith({ status: 200, detail: done }, work)
  } catch (error) {
    if (!(error instanceof HttpProblem)) throw error
    // The claim was rolled back with the work. If another request has come in between, its answer is that of the key.
    answer = await answerWith({ status: error.status, detail: error.message }, async () => undefined)
  }
  if (answer.status !== 200) throw new HttpProblem(answer.status, answer.detail)
  return answer.detail
}

/** Returns false when the key is taken, after having waited for whoever is about to take it. */
async function claim(tx: Queryable, key: string, request: string, answer: Answer): Promise<boolean> {
  const { status, detail } = answer
  const { rowCount } = await tx.execute(
    `INSERT INTO idempotency_keys (key, request, status, detail) VALUES (:key, :request, :status, :detail)
     ON CONFLICT (key) DO NOTHING`,
    { key, request, status, detail },
  )
  return rowCount > 0
}

async function recall(tx: Queryable, key: string, request: string): Promise<Answer> {
  const found = await tx.fetchOne<Answer & { request: string }>(
    'SELECT request, status, detail FROM idempotency_keys WHERE key = :key',
    { key },
  )
  if (found === null)
    throw new Error('An idempotency key was forgotten at the very moment it was sent again.')
  if (found.request !== request)
    throw new HttpProblem(422, 'This Idempotency-Key was sent with another request before.')
  return found
}

/** For how long a key is remembered, at least. */
export const KEY_LIFETIME_MILLIS = 24 * 60 * 60 * 1000

/** Few enough that no transfer ever waits for them. */
const BATCH = 500

/**
 * Deletes the keys that are older than their lifetime, some hundreds at a time.
 *
 * @returns how many there were
 */
export async function forgetOldKeys(
  database: Queryable,
  lifetimeMillis = KEY_LIFETIME_MILLIS,
): Promise<number> {
  const before = new Date(Date.now() - lifetimeMillis)
  for (let forgotten = 0; ;) {
    const { rowCount } = await database.execute(
      `DELETE FROM idempotency_keys WHERE key IN (
         SELECT key FROM idempotency_keys WHERE created_at < :before ORDER BY created_at LIMIT :batch
       )`,
      { before, batch: BATCH },
    )
    forgotten += rowCount
    if (rowCount < BATCH) return forgotten
  }
}

const HOUR_MILLIS = 60 * 60 * 1000

/**
 * Forgets old keys now, and every hour from now on, in the background.
 *
 * @param onError is told of a time when that failed; the next one makes up for it
 * @returns what ends it; it resolves when nothing of it runs any more
 */
export function forgetHourly(database: Queryable, onError: (error: unknown) => void): () => Promise<void> {
  let running = Promise.resolve()
  const forget = (): void => {
    running = forgetOldKeys(database).then(() => undefined, onError)
  }
  forget()
  const timer = setInterval(forget, HOUR_MILLIS).unref()
  return () => {
    clearInterval(timer)
    return running
  }
}
