/** What the monitor leaves of an error's message: names and fingerprints, never a value. */
import {
  ConnectionError,
  type Holder,
  PoolTimeoutError,
  QueryError,
  TransactionError,
} from '../../src/database'
import { redactedMessage as redactedMessageOfSpan } from '../../src/database/driver/driver-error'
import { redactedMessage } from '../../src/express/monitor/redacted-message'

function holderOf(sql: string | null): Holder {
  return { label: null, site: null, heldMillis: 1, sql, inTransaction: false }
}

describe('the message of an error in the monitor', () => {
  it('has fingerprints for what holders run, also where one statement is a part of another', () => {
    const texts = ['', "select 'hunter2'", "select 'hunter2' union select 'hunter3'", null]
    const error = new PoolTimeoutError(`'shop' is held:\n${texts.join('\n')}`, texts.map(holderOf), 0)
    expect(redactedMessage(error, null, [])).toBe("'shop' is held:\n\nselect ?\nselect ? union select ?\n")
  })

  it('quotes names that are known, and nothing else', () => {
    const refused = new ConnectionError('password authentication failed for user "app" of "shop"')
    expect(redactedMessage(refused, null, ['shop', 'app'])).toBe(refused.message)
    const failed = new QueryError(`no "shop" at 'hunter2' in "hunter3"`, 'select 1')
    expect(redactedMessage(failed, 'select 1', ['shop'])).toBe(`no "shop" at '…' in "…"`)
  })

  it('has a fingerprint for its own statement, whose quotes would end too early', () => {
    const sql = "commit prepared 'hunter2'"
    const error = new TransactionError(`'${sql}' cannot be run here.`)
    expect(redactedMessage(error, sql, [])).toBe("'…' cannot be run here.")
  })

  it('leaves out what a function of the database raises', () => {
    const raised = new QueryError('card 4111 is refused (SQLSTATE P0001)', 'select pay()')
    expect(redactedMessage(raised, 'select pay()', [])).not.toContain('4111')
    // RAISE … USING ERRCODE, as pg reports it.
    const cause = { code: 'CC001', routine: 'exec_stmt_raise' }
    const own = new QueryError('card 4111 is refused (SQLSTATE CC001)', 'select pay()', { cause })
    expect(redactedMessage(own, 'select pay()', [])).toContain('CC001')
    expect(redactedMessage(own, 'select pay()', [])).not.toContain('4111')
    expect(redactedMessageOfSpan(own)).not.toContain('4111')
  })
})
