/** Answers of PostgreSQL that are waited for in a hurry: to a ping, and the end of a statement that failed. */
import type { Session } from '../driver/session'
import type { RawConnection } from './client'

interface Conversation extends Pick<Session, 'broken' | 'destroy'> {
  readonly raw: RawConnection
}

/** How long that may take. */
const PATIENCE_MILLIS = 2000

/** Waits for an answer. A session that gives none is destroyed. */
export async function patiently(session: Conversation, answer: Promise<unknown>): Promise<void> {
  const timer = setTimeout(() => {
    session.destroy()
  }, PATIENCE_MILLIS)
  try {
    await answer
  } finally {
    clearTimeout(timer)
  }
}

/** pg reports an error before the server is ready for the next statement: only then is the transaction's state known. */
export async function readyAgain(session: Conversation): Promise<void> {
  const { raw } = session
  if (raw.readyForQuery || session.broken !== null) return
  await new Promise<void>((resolve) => {
    const end = (): void => {
      clearTimeout(timer)
      raw.connection.off('readyForQuery', end)
      raw.off('end', end)
      resolve()
    }
    const timer = setTimeout(() => {
      session.destroy()
      end()
    }, PATIENCE_MILLIS)
    raw.connection.on('readyForQuery', end)
    raw.on('end', end)
  })
}
