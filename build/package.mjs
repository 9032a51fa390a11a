/**
 * Builds the folder that is published: the library without the service, with a manifest and documents of its own.
 *
 *     node build/package.mjs [folder]
 */
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'

const root = path.resolve(import.meta.dirname, '..')
const folder = path.resolve(process.argv[2] ?? path.join(root, 'package'))

const DEPENDENCIES = ['knex', 'tarn']
/** A program installs those that it uses. Where no range is given, it is the one that the tests run with. */
const PEERS = {
  '@appthreat/sqlite3': undefined,
  '@opentelemetry/api': undefined,
  // The types of Express that the program compiles with: a copy of our own would be others.
  '@types/express': '^4.17.0 || ^5.0.0',
  express: '^4.18.0 || ^5.0.0',
  pg: undefined,
  'prom-client': undefined,
  sqlite3: undefined,
}

rmSync(folder, { recursive: true, force: true })
const tsc = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc')
execFileSync(
  process.execPath,
  [tsc, '-p', path.join(import.meta.dirname, 'tsconfig.json'), '--outDir', folder],
  { stdio: 'inherit' },
)
putPageIntoCode()
writeFileSync(path.join(folder, 'package.json'), `${JSON.stringify(manifest(), null, 2)}\n`)
copyDocuments(['README.md', 'CHANGELOG.md', 'LICENSE'])

/** Bundlers leave behind what lies beside the code. */
function putPageIntoCode() {
  const assets = path.join(root, 'src', 'express', 'monitor', 'assets')
  const files = Object.fromEntries(
    readdirSync(assets).map((name) => [name, readFileSync(path.join(assets, name), 'utf8')]),
  )
  writeFileSync(
    path.join(folder, 'express', 'monitor', 'page-files.js'),
    `"use strict";\nexports.pageFiles = new Map(Object.entries(${JSON.stringify(files, null, 2)}));\n`,
  )
}

function manifest() {
  const text = readFileSync(path.join(root, 'package.json'), 'utf8')
  // The compiled sources lie at the top here, so that `millpond/express` is found by those who do not read `exports`.
  const {
    private: _,
    files: _files,
    scripts: _scripts,
    dependencies,
    devDependencies,
    peerDependencies: _peers,
    peerDependenciesMeta: _peersMeta,
    overrides: _overrides,
    allowScripts: _allowScripts,
    scarfSettings: _scarfSettings,
    ...published
  } = JSON.parse(text.replaceAll(/(?:\.\/)?dist\/src\//g, './'))
  const ranges = { ...devDependencies, ...dependencies }
  return {
    ...published,
    dependencies: Object.fromEntries(DEPENDENCIES.map((name) => [name, ranges[name]])),
    peerDependencies: Object.fromEntries(
      Object.entries(PEERS).map(([name, range]) => [name, range ?? ranges[name]]),
    ),
    peerDependenciesMeta: Object.fromEntries(Object.keys(PEERS).map((name) => [name, { optional: true }])),
  }
}

/** Copies documents and what their links lead to. A link to what is not published becomes its text. */
function copyDocuments(files) {
  const copied = new Set(files)
  for (const file of copied) {
    const target = path.join(folder, file)
    mkdirSync(path.dirname(target), { recursive: true })
    if (!file.endsWith('.md')) {
      cpSync(path.join(root, file), target)
      continue
    }
    const text = readFileSync(path.join(root, file), 'utf8')
    const linked = text.replace(/\[([^\]]*)\]\((?![a-z]+:|#)([^)#\s]+)(#[^)]*)?\)/g, (link, words, to) => {
      const found = path.posix.join(path.posix.dirname(file), to)
      if (!isPublished(found)) return words
      copied.add(found)
      return link
    })
    writeFileSync(target, linked)
  }
}

function isPublished(file) {
  return (
    existsSync(path.join(root, file)) &&
    (file.startsWith('docs/') || ['README.md', 'CHANGELOG.md', 'LICENSE'].includes(file))
  )
}
