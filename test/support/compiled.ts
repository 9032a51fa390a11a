/** The project and the scripts of its tests in JavaScript: a process starts from it several times as fast as from the sources. */
import { execFile } from 'node:child_process'
import { mkdtemp, mkdir } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'

const ROOT = path.resolve(__dirname, '../..')

/** Compiles into a folder like dist/ and returns its path. It lies under node_modules, so that its files find the packages. */
export async function compile(): Promise<string> {
  const cache = path.join(ROOT, 'node_modules', '.cache')
  await mkdir(cache, { recursive: true })
  const folder = await mkdtemp(path.join(cache, 'millpond-compiled-'))
  // Types are checked before the tests; here only the output counts.
  const tsc = [
    'node_modules/typescript/bin/tsc',
    '-p',
    'test/tsconfig.scripts.json',
    '--noCheck',
    '--outDir',
    folder,
  ]
  await promisify(execFile)(process.execPath, tsc, { cwd: ROOT })
  return folder
}

/** The compiled folder that global-setup.ts has made: in it, `require('./src/database')` is the library. */
export function compiledFolder(): string {
  const folder = process.env['TEST_COMPILED']
  if (folder === undefined) throw new Error('Only tests have it')
  return folder
}

/** Arguments of Node that run a source file: compiled in a test, by a loader in a benchmark. */
export function toRun(file: string): string[] {
  if (process.env['TEST_COMPILED'] === undefined) return ['--import', require.resolve('tsx'), file]
  const compiled = path.join(compiledFolder(), path.relative(ROOT, file))
  return [compiled.replace(/\.ts$/, '.js')]
}
