/** What watches statements, transactions and waits from their start to their end: a log, traces. */

export interface StartedStatement {
  /** The text, without bound values. */
  readonly sql: string
  readonly bindings: readonly unknown[]
  /** The scope's label, such as `POST /transfer`, or null outside of any scope. */
  readonly label: string | null
}

export interface StatementEnd {
  /** Left out when the statement succeeded. */
  readonly error?: unknown
  /** The number of rows that it returned, or that it changed, where it does so. */
  readonly returnedRows?: number
  readonly changedRows?: number
}

/** `unknown`: the connection was lost during COMMIT. */
export type TransactionEnd = 'committed' | 'rolled back' | 'unknown'

/** A statement that is observed. */
export interface Observation {
  /** Runs what the statement does. */
  run<T>(work: () => Promise<T>): Promise<T>
  end(end: StatementEnd): void
}

/** A transaction that is observed, and so are its statements. */
export interface ObservedTransaction extends Pick<Observer, 'statement'> {
  /** Runs the work of the transaction, where it is given as a function. */
  run<T>(work: () => Promise<T>): Promise<T>
  end(end: TransactionEnd): void
}

/** Its methods are called in the async context of the caller whose statement it is, and must not throw. */
export interface Observer {
  statement(started: StartedStatement): Observation
  /** Called before BEGIN. */
  transaction(): ObservedTransaction
  /** Called when a caller has to wait for a connection. */
  wait(connection: Promise<unknown>): void
}

/** Makes one observer of all; undefined if there is none. */
export function together([first, ...others]: readonly Observer[]): Observer | undefined {
  const second = others.length === 0 ? undefined : together(others)
  return first === undefined || second === undefined ? first : new BothObservers(first, second)
}

class BothObservers implements Observer {
  readonly #first: Observer
  readonly #second: Observer

  constructor(first: Observer, second: Observer) {
    this.#first = first
    this.#second = second
  }

  statement(started: StartedStatement): Observation {
    return both(this.#first.statement(started), this.#second.statement(started))
  }

  transaction(): ObservedTransaction {
    const first = this.#first.transaction()
    const second = this.#second.transaction()
    return {
      ...both(first, second),
      statement: (started) => both(first.statement(started), second.statement(started)),
    }
  }

  wait(connection: Promise<unknown>): void {
    this.#first.wait(connection)
    this.#second.wait(connection)
  }
}

interface Observed<End> {
  run<T>(work: () => Promise<T>): Promise<T>
  end(end: End): void
}

function both<End>(first: Observed<End>, second: Observed<End>): Observed<End> {
  return {
    run: (work) => first.run(() => second.run(work)),
    end: (end) => {
      first.end(end)
      second.end(end)
    },
  }
}
