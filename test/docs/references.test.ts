/** What the documentation refers to is there: tests by their names, files, links, and every rule with its tests. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { standingCheck } from '../support/standing-check'

const root = path.resolve(__dirname, '../..')
const read = (file: string): string => readFileSync(path.join(root, file), 'utf8')

interface Reference {
  readonly file: string
  readonly name: string
}

/** Each `[label](../test/….test.ts): "name of a test"`; the text may be wrapped. */
function referencesIn(markdown: string): Reference[] {
  const found = markdown.replace(/\s+/g, ' ').matchAll(/\]\(\.\.\/(test\/[\w./-]+\.test\.ts)\): "([^"]+)"/g)
  return [...found].map(([, file = '', name = '']) => ({ file, name }))
}

/** The names of a file's tests, as they are written: `%s` included. */
function testsIn(source: string): string[] {
  const found = source.matchAll(/\bit(?:\.each(?:<[^>]*>)?\([^]*?\n?\s*\))?\(\s*(['"`])((?:\\.|(?!\1).)*)\1/g)
  return [...found].map(([, , name = '']) => name.replace(/\\(.)/g, '$1'))
}

function missing(references: readonly Reference[]): string[] {
  return references
    .filter(({ file, name }) => !existsSync(path.join(root, file)) || !testsIn(read(file)).includes(name))
    .map(({ file, name }) => `${file}: "${name}"`)
}

describe('docs/from-databases.md', () => {
  standingCheck()
  const text = read('docs/from-databases.md')

  it('names only tests that there are', () => {
    expect(referencesIn(text).length).toBeGreaterThan(120)
    expect(missing(referencesIn(text))).toEqual([])
  })

  it('would be found out, were a test renamed', () => {
    const file = 'test/database/query/queries.test.ts'
    const planted = `[queries](../${file}): "returns null for\n  NULL" and [queries](../${file}): "returns nothing"`
    expect(missing(referencesIn(planted))).toEqual([`${file}: "returns nothing"`])
  })

  it('names a test in every line of its tables and lists', () => {
    const lines = text
      .replace(/\n {2,}/g, ' ')
      .split('\n')
      .filter((line) => /^(\||- )/.test(line) && !/^\| (---|`databases` \||there \|)/.test(line))
    expect(lines.length).toBeGreaterThan(100)
    expect(
      lines.filter((line) => referencesIn(line).length === 0 && !line.includes('no counterpart')),
    ).toEqual([])
  })

  it('lists each test of the original once', () => {
    const listed = [...text.slice(text.indexOf('one by one')).matchAll(/`(test_[a-z_]+)`/g)].map(
      ([, name]) => name,
    )
    expect(new Set(listed).size).toBe(listed.length)
    expect(listed.length).toBe(75)
  })
})

describe('docs/design.md', () => {
  standingCheck()
  const folders = readdirSync(path.join(root, 'src/database'), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
  const text = read('docs/design.md')

  it('has each of the rules, and each names the files that hold it', () => {
    const rules = [...text.replace(/\s+/g, ' ').matchAll(/ (\d+)\. .*?Held by (.*?)\.(?= |$)/g)]
    expect(rules.map(([, number]) => Number(number))).toEqual(
      Array.from({ length: 23 }, (_, index) => index + 1),
    )
    const files = rules.flatMap(([, , held = '']) =>
      [...held.matchAll(/`([^`]+)`/g)].map(([, file = '']) => file),
    )
    expect(files.length).toBeGreaterThan(30)
    expect(files.filter((file) => !existsSync(path.join(root, file)))).toEqual([])
  })

  it('names only files that are there', () => {
    const map = text.slice(0, text.indexOf('## Rules'))
    const named = [...map.matchAll(/`([\w-]+\/[\w./-]+\.ts)`/g)].map(([, file = '']) => file)
    const homes = ['', 'src/database', ...folders.map((folder) => `src/database/${folder}`)]
    const gone = named.filter((file) => !homes.some((home) => existsSync(path.join(root, home, file))))
    expect(named.length).toBeGreaterThan(30)
    expect(gone).toEqual([])
  })
})

describe('docs/from-fastapi.md', () => {
  standingCheck()
  const rows = read('docs/from-fastapi.md')
    .split('\n')
    .filter((line) => line.startsWith('| ') && !/^\| (---|there) /.test(line))

  it('names a file or a folder that is there in each row of its table', () => {
    const places = rows.map((row) => [...row.matchAll(/`((?:src|migrations|seeds)\/[^`]*)`/g)])
    expect(rows.length).toBeGreaterThan(15)
    expect(rows.filter((_row, index) => places[index]?.length === 0)).toEqual([])
    const paths = places.flat().map(([, place = '']) => place)
    expect(paths.filter((place) => !existsSync(path.join(root, place)))).toEqual([])
  })
})

describe('the documentation', () => {
  standingCheck()
  const pages = readdirSync(path.join(root, 'docs')).filter((file) => file.endsWith('.md'))

  it.each(pages)('%s links only to what is there', (page) => {
    const links = [...read(`docs/${page}`).matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([\w-]+))?\)/g)]
    const broken = links.filter(([, file = '', anchor]) => {
      const target = path.posix.join('docs', file === '' ? page : file)
      if (!existsSync(path.join(root, target))) return true
      return anchor !== undefined && !anchorsOf(read(target)).includes(anchor)
    })
    expect(broken.map(([link]) => link)).toEqual([])
  })
})

function anchorsOf(markdown: string): string[] {
  const headings = [...markdown.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => heading)
  return headings.map((heading) =>
    heading
      .toLowerCase()
      .replace(/[^\w\s-]/g, '')
      .trim()
      .replace(/\s/g, '-'),
  )
}

describe('docs/service.md', () => {
  standingCheck()
  const text = read('docs/service.md')

  it('shows a line of the log with the fields that it explains', () => {
    const [, example = ''] = /^```json\n(\{\s*"level".*?)^```$/ms.exec(text) ?? []
    const line = JSON.parse(example) as object
    const explained = [...text.slice(text.indexOf('## Read its logs')).matchAll(/^\| `(\w+)` /gm)]
    expect(explained.length).toBeGreaterThan(6)
    const shown = [...Object.keys(line), 'traceId']
    expect(explained.map(([, name]) => name).filter((name) => !shown.includes(name ?? ''))).toEqual([])
  })
})

describe('docs/testing.md', () => {
  standingCheck()

  it('shows a test file as it is run', () => {
    const shown = /^```typescript\n(.*?)^```$/ms.exec(read('docs/testing.md'))?.[1]
    const [, ...code] = read('test/testing/example.test.ts').split('\n')
    const published = code
      .join('\n')
      .replace("'../../src/database'", "'millpond'")
      .replace("'../../src/express'", "'millpond/express'")
      .replace("'../../src/testing'", "'millpond/testing'")
    expect(shown).toBe(published)
  })
})
