/** Every setting is where a user would look for it: in .env.example and in the table of docs/service.md, with its default. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { VARIABLES } from '../../src/service/config'

const root = path.resolve(__dirname, '../..')
const read = (file: string): string => readFileSync(path.join(root, file), 'utf8')

/** `NAME` → what stands after it, out of commented lines too. */
const example = new Map(
  [...read('.env.example').matchAll(/^#?([A-Z][A-Z_]+)=(.*)$/gm)].map(([, name = '', value = '']) => [
    name,
    value,
  ]),
)

/** `NAME` → its default, as the table has it. */
const table = new Map(
  [...read('docs/service.md').matchAll(/^\| `([A-Z_]+)` +\| (?:`([^`]*)`)?/gm)].map(
    ([, name = '', value]) => [name, value ?? ''],
  ),
)

it('is each of them in .env.example and in the table, and none that there is not', () => {
  expect([...example.keys()].toSorted()).toEqual(VARIABLES.toSorted())
  expect([...table.keys()].toSorted()).toEqual(VARIABLES.toSorted())
})

it('has the same default in both, where it has one', () => {
  const defaults = [...table].filter(([, value]) => value !== '')
  expect(defaults.length).toBeGreaterThan(10)
  for (const [name, value] of defaults) expect([name, example.get(name)]).toEqual([name, value])
})
