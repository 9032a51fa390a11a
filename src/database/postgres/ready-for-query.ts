/** Waits for answers of PostgreSQL with a time limit: to a ping, and ReadyForQuery after a statement that failed. */
import type { Session } from '../driver/session'
import { ANSWER_TIMEOUT_MILLIS } from './cancel-request'
import type { RawConnection } from './pg-client'

interface DestroyableSession extends Pick<Session, 'broken' | 'destroy'> {
  readonly raw: RawConnection
}

/** Waits for an answer, and destroys the session if it does not come in time. */
export async function withAnswerTimeout(
  session: DestroyableSession,
  answer: Promise<unknown>,
): Promise<void> {
  const timer = setTimeout(() => {
    session.destroy()
  }, ANSWER_TIMEOUT_MILLIS)
  try {
    await answer
  } finally {
    clearTimeout(timer)
  }
}

/** Waits for ReadyForQuery: pg reports an error before it, and the transaction's status is known only after it. */
export async function waitForReady(session: DestroyableSession): Promise<void> {
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
    }, ANSWER_TIMEOUT_MILLIS)
    raw.connection.on('readyForQuery', end)
    raw.on('end', end)
  })
}
