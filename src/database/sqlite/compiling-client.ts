/** Knex's client for SQLite, which writes statements and never meets a driver. */
import knex, { type Knex } from 'knex'
import { refuseRebuild } from './transaction-state'

/** What Knex 3.3 has, and its types leave out. */
interface SqliteClient extends Knex.Client {
  readonly transacting?: boolean
  ddl(...args: unknown[]): Ddl
}
interface Ddl {
  alter(...args: unknown[]): Promise<void>
  isForeignCheckEnabled(): Promise<boolean>
}

const Base = knex({ client: 'sqlite3', useNullAsDefault: true }).client.constructor as typeof Knex.Client
const prototype = Base.prototype as SqliteClient

export class CompilingClient extends Base {
  _driver(): object {
    return {}
  }

  /** To drop a column Knex makes the table anew, and in a transaction it does not look whether foreign keys are on. */
  ddl(...args: unknown[]): Ddl {
    const { transacting } = this as SqliteClient
    const ddl = prototype.ddl.apply(this, args)
    const alter = ddl.alter.bind(ddl)
    ddl.alter = async (...how) => {
      if (transacting === true && (await ddl.isForeignCheckEnabled())) throw refuseRebuild('')
      return alter(...how)
    }
    return ddl
  }
}
