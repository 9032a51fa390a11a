// Checks package-lock.json for what would break `npm ci` elsewhere: packages of other platforms that are missing, and
// addresses of one registry.
import { readFileSync } from 'node:fs'
import path from 'node:path'

const file = process.argv[2] ?? path.resolve(import.meta.dirname, '..', 'package-lock.json')
const { packages } = JSON.parse(readFileSync(file, 'utf8'))

/** Where node would look for a dependency of the package at `at`: beside it, then in each folder above. */
function isLocked(at, dependency) {
  for (let folder = at; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('node_modules/') - 1))) {
    if (packages[`${folder && `${folder}/`}node_modules/${dependency}`]) return true
    if (folder === '') return false
  }
}

const problems = Object.entries(packages).flatMap(([at, entry]) => [
  ...Object.keys(entry.optionalDependencies ?? {})
    .filter((dependency) => !isLocked(at, dependency))
    .map((dependency) => `${at} wants ${dependency}, which is not locked`),
  ...(entry.resolved?.startsWith('http') ? [`${at} is bound to one registry by its "resolved"`] : []),
])

for (const problem of problems) console.error(problem)
console.log(`package-lock.json: ${Object.keys(packages).length} entries, ${problems.length} problems`)
process.exitCode = problems.length === 0 ? 0 : 1
