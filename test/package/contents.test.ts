/** What is in the package that is published: the library alone, and what its manifest and documents say of it. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { isBuiltin } from 'node:module'
import path from 'node:path'
import { standingCheck } from '../support/standing-check'
import { type Outcome, pack, Project, temporaryFolder } from './project'

interface Manifest {
  readonly dependencies: Record<string, string>
  readonly peerDependencies: Record<string, string>
  readonly peerDependenciesMeta: Record<string, { readonly optional: boolean }>
  readonly [field: string]: unknown
}

describe('the package', () => {
  standingCheck()
  let temporary: string
  let archive: string
  let folder: string
  let files: string[]
  const read = (file: string): string => readFileSync(path.join(folder, file), 'utf8')
  const manifest = (): Manifest => JSON.parse(read('package.json')) as Manifest
  const parts = ['cli', 'database', 'express', 'testing']

  beforeAll(async () => {
    temporary = await temporaryFolder()
    archive = await pack(temporary)
    folder = path.join(temporary, 'package')
    files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  })
  afterAll(() => rm(temporary, { recursive: true }))

  it('holds the library, its documents and its manifest, and nothing else', () => {
    const others = files.filter((file) => !parts.includes(file.split(path.sep)[0] ?? ''))
    expect(others.filter((file) => !/^docs(?:$|\/)/.test(file)).toSorted()).toEqual([
      'CHANGELOG.md',
      'LICENSE',
      'README.md',
      'package.json',
    ])
    const code = files.filter((file) => parts.includes(file.split(path.sep)[0] ?? '') && /\.\w+$/.test(file))
    expect(code.filter((file) => !/(?<!\.test)\.(?:js|d\.ts)$/.test(file))).toEqual([])
  })

  it('has a manifest without what only the repository needs', () => {
    const { bin: _bin, ...fields } = manifest()
    expect(Object.keys(fields).toSorted()).toEqual([
      'dependencies',
      'description',
      'engines',
      'exports',
      'keywords',
      'license',
      'main',
      'name',
      'peerDependencies',
      'peerDependenciesMeta',
      'repository',
      'type',
      'types',
      'version',
    ])
    expect(Object.keys(manifest().dependencies)).toEqual(['knex', 'tarn'])
    expect(Object.values(manifest().peerDependenciesMeta).every(({ optional }) => optional)).toBe(true)
  })

  it('names every package that its code or its declarations import', () => {
    const { name, dependencies, peerDependencies } = manifest()
    // Its own name stands in examples.
    const named = [name, ...Object.keys({ ...dependencies, ...peerDependencies })]
    const imported = files
      .filter((file) => /\.(?:js|d\.ts)$/.test(file))
      .flatMap((file) => [...read(file).matchAll(/(?:\brequire\(|\bfrom |\bimport\()['"]([^'"]+)['"]/g)])
      .map(([, from = '']) => from)
      .filter((from) => !from.startsWith('.') && !isBuiltin(from))
      .map((from) => from.split('/', from.startsWith('@') ? 2 : 1).join('/'))
    expect([...new Set(imported)].filter((one) => !named.includes(one))).toEqual([])
  })

  it('is led to by each link of its documents', () => {
    const pages = files.filter((file) => /^(?:README|CHANGELOG|docs\/.*)\.md$/.test(file))
    expect(pages.length).toBeGreaterThan(8)
    const links = pages.flatMap((page) =>
      [...read(page).matchAll(/\]\((?![a-z]+:|#)([^)#\s]+)/g)].map(([, to = '']) =>
        path.join(path.dirname(page), to),
      ),
    )
    expect(links.length).toBeGreaterThan(20)
    expect(links.filter((link) => !existsSync(path.join(folder, link)))).toEqual([])
  })

  describe('in a project without any driver', () => {
    let project: Project
    const messageOf = async (url: string): Promise<Outcome> =>
      project.node([
        '-e',
        `try { new (require('millpond').Database)('${url}') } catch ({ name, message }) { console.log(name, message) }`,
      ])

    beforeAll(async () => {
      project = await Project.install([archive])
    })
    afterAll(() => project.remove())

    it.each([
      ['postgresql://localhost/shop', 'npm install pg'],
      ['sqlite:///shop.db', 'npm install sqlite3'],
      ['sqlite:///shop.db', 'pnpm approve-builds'],
      ['sqlite+appthreat:///shop.db', 'npm install @appthreat/sqlite3'],
    ])('says for %s: `%s`', async (url, advice) => {
      const { output } = await messageOf(url)
      expect(output).toMatch(/^ConfigurationError The driver for \S+ cannot be loaded\. Install it: /)
      expect(output).toContain(`\`${advice}`)
    })

    it('says so of a sqlite3 that was never compiled', async () => {
      await project.npm('install', '--prefer-offline', '--ignore-scripts', 'sqlite3@6')
      const { output } = await messageOf('sqlite:///shop.db')
      expect(output).toMatch(/^ConfigurationError .*pnpm approve-builds/)
    })
  })
})
