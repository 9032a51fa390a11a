/** What a TypeScript source imports and whether it reads the environment, by its syntax tree. */
import { parseSync } from '@swc/core'

export interface Import {
  /** As written: `./mutex`, `node:path`, `knex`. */
  readonly from: string
  /** True for a type import, which is not in the compiled file. */
  readonly typeOnly: boolean
}

export interface SourceFile {
  readonly imports: readonly Import[]
  readonly readsEnvironment: boolean
}

/** Sees every form: import, import type, export from, import(), require(), import x = require() and import types. */
export function parseSource(text: string): SourceFile {
  const imports: Import[] = []
  let readsEnvironment = false
  visit(parseSync(text, { syntax: 'typescript' }), (node) => {
    const found = importOf(node)
    if (found) imports.push(found)
    readsEnvironment ||= isEnvironment(node)
  })
  return { imports, readsEnvironment }
}

/** A node of the syntax tree, of which this file only knows that it has a type and further nodes in it. */
interface Node {
  readonly type: string
  readonly [property: string]: unknown
}

function visit(value: unknown, see: (node: Node) => void): void {
  if (typeof value !== 'object' || value === null) return
  if (isNode(value)) see(value)
  for (const child of Object.values(value)) visit(child, see)
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string'
}

function importOf(node: Node): Import | undefined {
  switch (node.type) {
    case 'ImportDeclaration':
    case 'ExportNamedDeclaration':
    case 'ExportAllDeclaration':
      return importFrom(node['source'], node['typeOnly'] === true || onlyTypes(node['specifiers']))
    case 'TsImportEqualsDeclaration':
      return isNode(node['moduleRef'])
        ? importFrom(node['moduleRef']['expression'], node['isTypeOnly'] === true)
        : undefined
    case 'TsImportType':
      return importFrom(node['argument'], true)
    case 'CallExpression':
      return isNode(node['callee']) &&
        (node['callee'].type === 'Import' || isIdentifier(node['callee'], 'require'))
        ? importFrom(firstArgument(node), false)
        : undefined
    default:
      return undefined
  }
}

function importFrom(literal: unknown, typeOnly: boolean): Import | undefined {
  const from = stringOf(literal)
  return from === undefined ? undefined : { from, typeOnly }
}

function onlyTypes(specifiers: unknown): boolean {
  return (
    Array.isArray(specifiers) &&
    specifiers.length > 0 &&
    specifiers.every((specifier) => isNode(specifier) && specifier['isTypeOnly'] === true)
  )
}

function firstArgument(call: Node): unknown {
  const [first] = Array.isArray(call['arguments']) ? call['arguments'] : []
  return typeof first === 'object' && first !== null && 'expression' in first ? first.expression : undefined
}

/** `process.env`, `process['env']`, `{ env } = process`, and `import { env } from 'node:process'`. */
function isEnvironment(node: Node): boolean {
  switch (node.type) {
    case 'MemberExpression':
      return isProcess(node['object']) && nameOf(node['property']) === 'env'
    case 'VariableDeclarator':
      return isProcess(node['init']) && takesEnvironment(node['id'])
    case 'ImportDeclaration':
      return (
        /^(node:)?process$/.test(stringOf(node['source']) ?? '') &&
        Array.isArray(node['specifiers']) &&
        node['specifiers'].some(
          (one) => isNode(one) && (nameOf(one['imported']) ?? nameOf(one['local'])) === 'env',
        )
      )
    default:
      return false
  }
}

function isProcess(value: unknown): boolean {
  if (!isNode(value)) return false
  return (
    isIdentifier(value, 'process') ||
    (value.type === 'MemberExpression' && nameOf(value['property']) === 'process')
  )
}

function takesEnvironment(pattern: unknown): boolean {
  if (!isNode(pattern) || !Array.isArray(pattern['properties'])) return false
  return pattern['properties'].some((one) => isNode(one) && nameOf(one['key']) === 'env')
}

function nameOf(value: unknown): string | undefined {
  if (!isNode(value)) return undefined
  if (value.type === 'Computed') return stringOf(value['expression'])
  return typeof value['value'] === 'string' ? value['value'] : undefined
}

function stringOf(value: unknown): string | undefined {
  if (!isNode(value)) return undefined
  return value.type === 'StringLiteral' && typeof value['value'] === 'string' ? value['value'] : undefined
}

function isIdentifier(node: Node, name: string): boolean {
  return node.type === 'Identifier' && node['value'] === name
}
