/** The statements of a program: rows, sent in one of several ways, with a note of what became of each. */
import type { Database, Queryable } from '../../../src/database'
import type { Way } from './tree'

/** One INSERT: in which transaction it belongs, and, where it could be asked, in which the database ran it. */
export interface Sent {
  readonly tag: string
  /** The transaction or savepoint that it belongs to; a statement on its own is its own. */
  readonly owner: string
  /** The outermost one of it. */
  readonly outermost: string
  ran?: undefined | { readonly pid: number; readonly txid: string }
  outcome?: 'resolved' | 'rejected'
}

/** Where a statement is to run. */
export interface Target {
  /** The path of the transaction or savepoint; null for a statement on its own. */
  readonly owner: string | null
  /** The path of the outermost one. */
  readonly outermost: string | null
  /** What the handle's own way uses. */
  readonly on: Queryable
  /** Whether queries by the database itself run there as well, or else on the handle only. */
  readonly isAmbient: boolean
}

const INSERT = 'insert into log (tag) values (:tag)'

export class Inserts {
  readonly sent: Sent[] = []
  readonly #database: Database
  /** Goes before every tag. */
  readonly #name: string

  constructor(database: Database, name: string) {
    this.#database = database
    this.#name = name
  }

  async one(way: Way, place: Target, path: string): Promise<void> {
    const sent = this.#note(place, path)
    try {
      sent.ran = await this.#row(way, place, sent.tag)
      sent.outcome = 'resolved'
    } catch (error) {
      sent.outcome = 'rejected'
      throw error
    }
  }

  async many(count: number, place: Target, path: string): Promise<void> {
    const within = { ...place, owner: path, outermost: place.outermost ?? path }
    const sent = Array.from({ length: count }, (_, n) => this.#note(within, `${path}#${n}`))
    const on = place.isAmbient ? this.#database : place.on
    try {
      await on.executeMany(INSERT, sent.map(({ tag }) => ({ tag }))) // prettier-ignore
      for (const one of sent) one.outcome = 'resolved'
    } catch (error) {
      for (const one of sent) one.outcome = 'rejected'
      throw error
    }
  }

  /** Inserts a row; what ran it is known only where the way returns it. */
  async #row(way: Way, { isAmbient, on }: Target, tag: string): Promise<Sent['ran']> {
    const database = this.#database
    const here = isAmbient ? database : on
    switch (way) {
      case 'execute':
        await here.execute(INSERT, { tag })
        return undefined
      case 'handle':
        await on.execute(INSERT, { tag })
        return undefined
      case 'fetchOne':
        return ranBy(await here.fetchOne(`${INSERT} returning *`, { tag }))
      case 'table': {
        const builder = database.table('log').insert({ tag }).returning('*')
        return ranBy(isAmbient ? ((await builder) as object[])[0] : await on.fetchOne(builder))
      }
      default: {
        const builder = database.knex.raw('insert into log (tag) values (?)', [tag])
        await (isAmbient ? builder : on.execute(builder))
        return undefined
      }
    }
  }

  /** A row by a handle that must refuse it. */
  by(on: Queryable, path: string): Promise<unknown> {
    return on.execute(INSERT, { tag: this.#name + path })
  }

  /** A row that is there already. */
  again(): Promise<unknown> {
    return this.#database.execute(INSERT, { tag: 'taken' })
  }

  #note({ owner, outermost }: Target, path: string): Sent {
    const tag = this.#name + path
    const named = (one: string | null): string => (one === null ? tag : this.#name + one)
    const sent = { tag, owner: named(owner), outermost: named(outermost) }
    this.sent.push(sent)
    return sent
  }
}

function ranBy(row: object | null | undefined): Sent['ran'] {
  const { pid, txid } = (row ?? {}) as { pid?: number; txid?: string }
  return pid === undefined || txid === undefined ? undefined : { pid, txid }
}
