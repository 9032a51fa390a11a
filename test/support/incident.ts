/** An incident of a pool: all connections held, one by nobody's fault and one forgotten, callers that wait in vain, and errors. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Database, runInScope } from '../../src/database'

/** Runs for half a minute, unless it is cancelled. */
const SLOW_STATEMENTS: Readonly<Record<string, string>> = {
  postgresql: 'select pg_sleep(30), :note as note',
  sqlite:
    'with recursive c (n) as (select 1 union all select n + 1 from c where n < 3e8) select count(*), :note as note from c',
}

/** As many as wait at once, and time out one after the other: each message counts the others. */
const CALLERS = 13
const OPENING_TAG = '<img src=x onerror=alert(1)>'

/** Fills a pool of two connections until `end` is called. Its acquire timeout and its leak threshold should be short. */
export class Incident {
  readonly #database: Database
  readonly #over = new AbortController()
  #running: Promise<unknown>[] = []

  constructor(database: Database) {
    this.#database = database
  }

  async begin(): Promise<void> {
    const database = this.#database
    await this.#fail('GET /broken', `select t."${OPENING_TAG}" from (select 1 as one) t`)
    await this.#fail(
      'GET /a-route/whose/name/is/long/:but/:not/unusual',
      'select id, owner, balance, created_at, changed_at from a_table_that_is_not_there where owner = 1 order by id',
    )
    const forgotten = await runInScope({ label: 'POST /checkout' }, () => database.begin())
    await forgotten.fetchVal('select 1')
    const { signal } = this.#over
    const slow = runInScope({ label: 'GET /report' }, () =>
      database.fetchVal(SLOW_STATEMENTS[database.url.dialect] ?? '', { note: 'a value' }, { signal }),
    )
    const callers = Array.from({ length: CALLERS }, () => this.#callAgainAndAgain('GET /orders/:id'))
    this.#running = [
      slow,
      ...callers,
      new Promise((resolve) => signal.addEventListener('abort', resolve)).then(() => forgotten.rollback()),
    ]
  }

  /** Lets go of everything, and waits until nothing of it runs any more. */
  async end(): Promise<void> {
    this.#over.abort()
    await Promise.allSettled(this.#running)
  }

  async #fail(label: string, sql: string): Promise<void> {
    await runInScope({ label }, () => this.#database.fetchVal(sql)).catch(() => {})
  }

  async #callAgainAndAgain(label: string): Promise<void> {
    while (!this.#over.signal.aborted) {
      await this.#fail(label, 'select * from orders where id = 1')
      await sleep(50 * Math.random())
    }
  }
}
