/** Knex's client for SQLite, which compiles statements only: it never loads a driver. */
import knex, { type Knex } from 'knex'
import { rebuildError } from './statements'

/** Private members of Knex 3.3, which rebuilds a table in two ways: in a transaction, or by commands around one. */
interface Ddl {
  readonly client: { transaction(work: unknown, config: Knex.TransactionConfig): Promise<unknown> }
  readonly connection: object
  tableName(): string
  isForeignCheckEnabled(): Promise<boolean>
  setForeignCheck(isOn: boolean): Promise<void>
}

const Base = knex({ client: 'sqlite3', useNullAsDefault: true }).client.constructor as typeof Knex.Client
const prototype = Base.prototype as unknown as { ddl(this: object, ...args: unknown[]): Ddl }

/** Finds whether any table refers to this one. A self-reference counts: the copy's rows refer to the dropped table. */
const REFERENCES = `
  SELECT 1 FROM pragma_table_list AS t, pragma_foreign_key_list(t.name, t.schema) AS f
  WHERE f."table" = ? COLLATE NOCASE LIMIT 1`

export class CompilingClient extends Base {
  _driver(): object {
    return {}
  }

  /** Refuses to rebuild a table in a transaction in which foreign keys are on, if rows may refer to the table. */
  ddl(...args: unknown[]): Ddl {
    const made = prototype.ddl.apply(this, args)
    const { client } = made
    const isForeignCheckEnabled = made.isForeignCheckEnabled.bind(made)
    const transaction = client.transaction.bind(client)
    const keepsForeignKeysOn = async (): Promise<boolean> => {
      if (!(await isForeignCheckEnabled())) return false
      // Knex refuses to set foreign keys, even to their present value, in a transaction only.
      const isInTransaction = await made.setForeignCheck(true).then(
        () => false,
        () => true,
      )
      if (!isInTransaction) return false
      const references = this.raw(REFERENCES, [made.tableName()]).connection(made.connection)
      if (((await references) as unknown[]).length > 0) throw rebuildError('')
      return true
    }
    client.transaction = async (work, config) =>
      transaction(work, (await keepsForeignKeysOn()) ? { ...config, enforceForeignCheck: null } : config)
    made.isForeignCheckEnabled = async () => (await isForeignCheckEnabled()) && !(await keepsForeignKeysOn())
    return made
  }
}
