/** The type tests hold against the library's declarations as they are published, for users who import or require it. */
import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { standingCheck } from '../support/standing-check'

const ROOT = path.resolve(__dirname, '../..')

/** Runs the compiler in a folder, and returns what it complains of. */
async function tsc(folder: string): Promise<string> {
  const compiler = path.join(ROOT, 'node_modules/typescript/bin/tsc')
  try {
    await promisify(execFile)(process.execPath, [compiler], { cwd: folder })
    return ''
  } catch (error) {
    return (error as { readonly stdout: string }).stdout
  }
}

/** Writes the library's declarations as `npm run build` does. The sources are checked before the tests. */
async function emitDeclarations(folder: string): Promise<string> {
  const config = {
    extends: path.join(ROOT, 'tsconfig.json'),
    compilerOptions: { rootDir: ROOT, outDir: folder, emitDeclarationOnly: true, noCheck: true },
    include: [path.join(ROOT, 'src/database')],
  }
  await mkdir(folder)
  await writeFile(path.join(folder, 'tsconfig.json'), JSON.stringify(config))
  return tsc(folder)
}

/** Makes a project that depends on the library: in `esm/` and in `cjs/`, the type tests of a folder. */
async function makeProject(folder: string, tests: string): Promise<void> {
  const files = (await readdir(tests)).filter((file) => file.endsWith('.test-d.ts'))
  for (const [kind, type] of [
    ['esm', 'module'],
    ['cjs', 'commonjs'],
  ] as const) {
    await mkdir(path.join(folder, kind), { recursive: true })
    await writeFile(path.join(folder, kind, 'package.json'), JSON.stringify({ type }))
    for (const file of files) await cp(path.join(tests, file), path.join(folder, kind, file))
  }
  await writeFile(
    path.join(folder, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: {
        module: 'nodenext',
        target: 'es2023',
        lib: ['es2023', 'esnext.disposable'],
        types: ['node'],
        strict: true,
        declaration: true,
        noEmit: true,
        skipLibCheck: false,
      },
      include: ['.'],
    }),
  )
}

describe('the types', () => {
  standingCheck()
  let folder: string

  beforeAll(async () => {
    const cache = path.join(ROOT, 'node_modules/.cache')
    await mkdir(cache, { recursive: true })
    folder = await mkdtemp(path.join(cache, 'millpond-types-'))
    const published = path.join(folder, 'node_modules/millpond')
    await mkdir(published, { recursive: true })
    await cp(path.join(ROOT, 'package.json'), path.join(published, 'package.json'))
    const emitted = await emitDeclarations(path.join(published, 'dist'))
    expect(emitted).toBe('')
  })

  afterAll(async () => {
    await rm(folder, { recursive: true })
  })

  it.each([
    ['of one Database', 'test/types'],
    ['declared for all of Knex', 'test/types/declared'],
  ])('of tables %s hold in a program, be it made of ES modules or of CommonJS', async (_title, tests) => {
    const project = path.join(folder, path.basename(tests))
    await makeProject(project, path.join(ROOT, tests))
    expect(await tsc(project)).toBe('')
  })

  it('are found out, were one of them wrong', async () => {
    const project = path.join(folder, 'planted')
    await makeProject(project, path.join(ROOT, 'test/types/declared'))
    const file = path.join(project, 'esm/declared.test-d.ts')
    const planted = (await readFile(file, 'utf8')).replace("select('id')", "select('username')")
    await writeFile(file, planted)
    expect(await tsc(project)).toMatch(/^esm.declared\.test-d\.ts\(\d+,\d+\): error/)
  })
})
