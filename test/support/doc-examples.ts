/** The examples in a Markdown file: found, turned into functions that can be called, and checked by what they say. */
import { transformSync } from '@swc/core'

export interface Example {
  /** Of its first line of code, as editors count. */
  readonly line: number
  /** The words after `ts`: `postgresql` or `sqlite` for one database only, `not-run` for what no test can run. */
  readonly marks: readonly string[]
  readonly code: string
}

/** A request that an example says should be answered so: `// GET /posts/1 → 200`. */
export interface Call {
  readonly method: 'get' | 'post' | 'put' | 'patch' | 'delete'
  readonly path: string
  readonly body: object | undefined
  readonly status: number
}

/** What an example with expectations calls: names that no example would use by itself. */
export interface Checks {
  isEqual(found: unknown, expected: unknown): void
  throws(work: () => unknown, name: string): Promise<void>
}

const MARKS = ['postgresql', 'sqlite', 'not-run']

/** @throws Error for a block of TypeScript with a word after `ts` that means nothing */
export function examplesOf(markdown: string): Example[] {
  return [...markdown.matchAll(/^```ts\b[ ]*([^\n]*)\n(.*?)^```$/gms)].map((match) => {
    const [, words = '', code = ''] = match
    const marks = words.split(/\s+/).filter(Boolean)
    const line = markdown.slice(0, match.index).split('\n').length + 1
    const unknown = marks.find((mark) => !MARKS.includes(mark))
    if (unknown !== undefined) throw new Error(`Line ${line - 1}: '${unknown}' after \`\`\`ts means nothing`)
    return { line, marks, code }
  })
}

/** The requests of an example, in order. */
export function callsOf(code: string): Call[] {
  const calls = code.matchAll(/^\/\/ (GET|POST|PUT|PATCH|DELETE) (\S+)(?: (\{.*\}))? → (\d{3})$/gm)
  return [...calls].map(([, method = '', path = '', body, status]) => ({
    method: method.toLowerCase() as Call['method'],
    path,
    body: body === undefined ? undefined : (JSON.parse(body) as object),
    status: Number(status),
  }))
}

/** How many expectations an example states. */
export function expectationsOf(code: string): number {
  return [...code.matchAll(/\/\/ (→|throws) /g)].length + callsOf(code).length
}

/**
 * Makes an async function of an example: its imports are left out, since what they name is in `scope`, and each
 * `// → value` and `// throws Name` becomes a check.
 */
export function compile(code: string, scope: object): (checks: Checks) => Promise<void> {
  const body = code
    .replace(/^import .*\n/gm, '')
    .split('\n')
    .map((line) => withCheck(line))
    .join('\n')
  const { code: script } = transformSync(`async function example() {\n${body}\n}`, {
    jsc: { parser: { syntax: 'typescript' }, target: 'es2022' },
    isModule: false,
  })
  const names = Object.keys(scope)
  // oxlint-disable-next-line typescript/no-implied-eval -- the text is our own documentation
  const make = new Function(...names, 'checks$', `${script}\nreturn example()`) as (
    ...values: unknown[]
  ) => Promise<void>
  return (checks) => make(...(Object.values(scope) as unknown[]), checks)
}

function withCheck(line: string): string {
  const [, indent = '', statement = '', kind = '', expected = ''] =
    /^(\s*)(\S.*?) \/\/ (→|throws) (.+)$/.exec(line) ?? []
  if (kind === '') return line
  if (/^[})\]]/.test(statement)) throw new Error(`An expectation goes with a statement on one line: ${line}`)
  if (kind === 'throws') {
    return `${indent}await checks$.throws(async () => { ${statement} }, ${JSON.stringify(expected)})`
  }
  const [, name] = /^(?:const|let) (\w+)\b/.exec(statement) ?? []
  return name === undefined
    ? `${indent}checks$.isEqual(${statement}, ${expected})`
    : `${indent}${statement}; checks$.isEqual(${name}, ${expected})`
}
