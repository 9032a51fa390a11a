/** The project as `npm run build` makes it, in a folder of its own: a process starts from it several times as fast. */
import { execFile } from 'node:child_process'
import { mkdtemp, mkdir, rm } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'

const root = path.resolve(__dirname, '../..')

/** A folder like dist/. It lies under node_modules, so that what is in it finds the packages. */
export interface Compiled extends AsyncDisposable {
  readonly folder: string
}

export async function compile(): Promise<Compiled> {
  const cache = path.join(root, 'node_modules', '.cache')
  await mkdir(cache, { recursive: true })
  const folder = await mkdtemp(path.join(cache, 'millpond-compiled-'))
  // Types are checked before the tests; here only the output counts.
  const tsc = ['node_modules/typescript/bin/tsc', '-p', '.', '--noCheck', '--outDir', folder]
  await promisify(execFile)(process.execPath, tsc, { cwd: root })
  return { folder, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) }
}
