/** What each type of column gives, in two time zones, which a process has from its beginning. */
import { execFile } from 'node:child_process'
import path from 'node:path'
import { promisify } from 'node:util'
import { toRun } from '../../support/compiled'
import { eachDatabase } from '../../support/each-database'
import { typeRows } from '../../support/type-table'

const TABLE = path.resolve(__dirname, '../../support/type-table.ts')

eachDatabase('a column', (context) => {
  describe.each([
    ['America/New_York', 300],
    ['Asia/Kolkata', -330],
  ])('in %s', (zone, offset) => {
    let found: unknown[]

    beforeAll(async () => {
      const args = [...toRun(TABLE), context.url]
      const { stdout } = await promisify(execFile)(process.execPath, args, {
        env: { ...process.env, TZ: zone },
      })
      const printed = JSON.parse(stdout) as { offset: number; found: unknown[] }
      expect(printed.offset).toBe(offset)
      found = printed.found
    })

    it.each(typeRows(context.dialect, context.driver).map((row, index) => ({ ...row, index })))(
      'of type $type gives back $value as it should',
      (row) => {
        expect(found[row.index]).toEqual(row[context.dialect])
      },
    )
  })
})
