/** Idempotent requests: work under an Idempotency-Key is done once, and repetitions get the same answer. */
import { createHash } from 'node:crypto'
import * as z from 'zod'
import type { Database } from '../database'
import { HttpProblem } from '../express'
import type { Tables } from './tables'

/**
 * The schema of the header. A key in quotes, as in the draft standard, is the same as one without, as most clients send it.
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

interface IdempotentRequest {
  readonly key: string | undefined
  /** Values that identify the request, so that another request under the same key is noticed. */
  readonly request: readonly unknown[]
  /** The client's answer when the work is done. */
  readonly done: string
}

/** The stored answer of a key: status 200, or that of the HttpProblem that refused the request. */
interface Answer {
  readonly status: number
  readonly detail: string
}

const RETRIES = { retries: 3 }

/**
 * Runs work in a transaction; with a key, once for all requests with that key. The key and its answer are stored in the
 * same transaction as the effects of the work, so that neither exists without the other. A request that comes while the
 * first one is open waits for it, and runs the work itself if that one is rolled back.
 *
 * A refusal, an HttpProblem that the work throws, is stored as well: a client that was told that nothing has happened must
 * be able to rely on it, even if an earlier copy of the request arrives later. No other failure is stored, so that the same
 * key can be sent again.
 *
 * @returns the value of `done` at the time when the work was done
 * @throws HttpProblem of the work's refusal, now or the first time; 422 for the key of another request
 */
export async function answerOnce(
  database: Database<Tables>,
  { key, request, done }: IdempotentRequest,
  work: () => Promise<void>,
): Promise<string> {
  if (key === undefined) {
    await database.transaction(work, RETRIES)
    return done
  }
  const hash = createHash('sha256').update(JSON.stringify(request)).digest('base64url')
  const answerWith = (answer: Answer, callback: () => Promise<void>): Promise<Answer> =>
    database.transaction(async () => {
      if (!(await storeKey(database, key, hash, answer))) return storedAnswer(database, key, hash)
      await callback()
      return answer
    }, RETRIES)
  let answer: Answer
  try {
    answer = await answerWith({ status: 200, detail: done }, work)
  } catch (error) {
    if (!(error instanceof HttpProblem)) throw error
    // The claim was rolled back with the work. If another request has claimed the key since, its answer counts.
    answer = await answerWith({ status: error.status, detail: error.message }, async () => undefined)
  }
  if (answer.status !== 200) throw new HttpProblem(answer.status, answer.detail)
  return answer.detail
}

function keys(database: Database<Tables>) {
  return database.table('idempotency_keys')
}

/** Stores the key. Returns false if it is taken, after waiting for a transaction that is about to store it. */
async function storeKey(
  database: Database<Tables>,
  key: string,
  request: string,
  answer: Answer,
): Promise<boolean> {
  const { status, detail } = answer
  const { rowCount } = await database.execute(
    keys(database).insert({ key, request, status, detail }).onConflict('key').ignore(),
  )
  return rowCount > 0
}

async function storedAnswer(database: Database<Tables>, key: string, request: string): Promise<Answer> {
  const found = await database.fetchOne(keys(database).select('request', 'status', 'detail').where({ key }))
  if (found === null)
    throw new Error('An idempotency key was forgotten at the very moment it was sent again.')
  if (found.request !== request)
    throw new HttpProblem(422, 'This Idempotency-Key was sent with another request before.')
  return found
}

/** How long a key is kept, at least. */
export const KEY_LIFETIME_MILLIS = 24 * 60 * 60 * 1000

/** Keys deleted per statement: few enough that no transfer waits noticeably. */
const BATCH = 500

/**
 * Deletes the keys that are older than their lifetime, in batches.
 *
 * @returns how many it deleted
 */
export async function deleteOldKeys(
  database: Database<Tables>,
  lifetimeMillis = KEY_LIFETIME_MILLIS,
): Promise<number> {
  const before = new Date(Date.now() - lifetimeMillis)
  for (let deleted = 0; ;) {
    const oldest = keys(database)
      .select('key')
      .where('created_at', '<', before)
      .orderBy('created_at')
      .limit(BATCH)
    const { rowCount } = await database.execute(keys(database).whereIn('key', oldest).delete())
    deleted += rowCount
    if (rowCount < BATCH) return deleted
  }
}

const HOUR_MILLIS = 60 * 60 * 1000

/**
 * Deletes old keys now and every hour, in the background.
 *
 * @param onError is called when a run failed; the next run deletes what that one has left
 * @returns a function that stops it, and resolves when no run is under way
 */
export function deleteOldKeysHourly(
  database: Database<Tables>,
  onError: (error: unknown) => void,
): () => Promise<void> {
  let running = Promise.resolve()
  const deleteKeys = (): void => {
    running = deleteOldKeys(database).then(() => undefined, onError)
  }
  deleteKeys()
  const timer = setInterval(deleteKeys, HOUR_MILLIS).unref()
  return () => {
    clearInterval(timer)
    return running
  }
}
