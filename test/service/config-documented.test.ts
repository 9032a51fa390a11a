/** Every setting is documented in .env.example and in the table of docs/service.md, with its default. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { VARIABLES } from '../../src/service/config'

const root = path.resolve(__dirname, '../..')
const read = (file: string): string => readFileSync(path.join(root, file), 'utf8')

/** `NAME` → its value, from commented lines too. */
const example = new Map(
  [...read('.env.example').matchAll(/^#?([A-Z][A-Z_]+)=(.*)$/gm)].map(([, name = '', value = '']) => [
    name,
    value,
  ]),
)

/** `NAME` → its default in the table. */
const table = new Map(
  [...read('docs/service.md').matchAll(/^\| `([A-Z_]+)` +\| (?:`([^`]*)`)?/gm)].map(
    ([, name = '', value]) => [name, value ?? ''],
  ),
)

it('.env.example and the table of docs/service.md list exactly the settings of the service', () => {
  expect([...example.keys()].toSorted()).toEqual(VARIABLES.toSorted())
  expect([...table.keys()].toSorted()).toEqual(VARIABLES.toSorted())
})

it('.env.example and the table of docs/service.md have the same defaults', () => {
  const defaults = [...table].filter(([, value]) => value !== '')
  expect(defaults.length).toBeGreaterThan(10)
  for (const [name, value] of defaults) expect([name, example.get(name)]).toEqual([name, value])
})
