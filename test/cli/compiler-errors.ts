/** Compiles files that a test has written, in a folder of their own. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

const root = path.resolve(__dirname, '..', '..')
const modules = path.join(root, 'node_modules')

/** Returns what the compiler has against the files, by their names. */
export function compilerErrors(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'millpond-types-'))
  try {
    writeFileSync(path.join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions: COMPILER_OPTIONS }))
    for (const [name, text] of Object.entries(files)) writeFileSync(path.join(folder, name), text)
    execFileSync(process.execPath, [path.join(modules, 'typescript', 'bin', 'tsc'), '-p', folder])
    return ''
  } catch (error) {
    return String((error as { stdout?: unknown }).stdout ?? error)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const COMPILER_OPTIONS = {
  strict: true,
  exactOptionalPropertyTypes: true,
  noEmit: true,
  target: 'es2023',
  module: 'preserve',
  types: ['node'],
  typeRoots: [path.join(modules, '@types')],
  skipLibCheck: true,
  paths: {
    knex: [path.join(modules, 'knex', 'types', 'index.d.ts')],
    millpond: [path.join(root, 'src', 'database', 'sql', 'sql-tag.ts')],
  },
}
