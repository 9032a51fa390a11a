/** The program of docs/tracing.md prints the spans that the page tells of. */
import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { compiledFolder } from '../support/compiled'
import { standingCheck } from '../support/standing-check'

describe('docs/tracing.md', () => {
  standingCheck()

  it('has a program that prints a span of each kind, with the attributes that are named', async () => {
    const page = await readFile(path.resolve(__dirname, '../../docs/tracing.md'), 'utf8')
    const [program = ''] = /(?<=```js\n)const \{ context[^]*?(?=```)/.exec(page) ?? []
    const library = path.join(compiledFolder(), 'src', 'database')
    const file = path.join(compiledFolder(), `tracing-${process.pid}.js`)
    await writeFile(file, program.replace("'millpond'", JSON.stringify(library)))
    const { stdout } = await promisify(execFile)(process.execPath, [file])
    const names = [...stdout.matchAll(/^ {2}name: '(.*)'/gm)].map(([, name]) => name)
    expect(names).toEqual(
      expect.arrayContaining(['CREATE posts', 'BEGIN', 'INSERT posts', 'COMMIT', 'transaction']),
    )
    expect(stdout).not.toContain('Hello')
    for (const attribute of [
      'db.system.name',
      'db.operation.name',
      'db.query.summary',
      'db.query.text',
      'millpond.transaction.end',
    ]) {
      expect(page).toContain(`\`${attribute}\``)
      expect(stdout).toContain(`'${attribute}'`)
    }
  })
})
