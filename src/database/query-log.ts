/** Prints the statements of a Database for people who read along. */
import path from 'node:path'
import { inspect, styleText } from 'node:util'
import { captureCallSite, siteOf } from './context/call-site'
import { databaseErrorOf } from './errors'
import type { Observation, ObservedTransaction, Observer, StartedStatement, StatementEnd } from './observer'
import { checkOptions } from './query/queryable'

/** The part of a Database that is logged. */
interface LoggedDatabase {
  observe(observer: Observer): () => void
}

export interface QueryLogOptions {
  /** Prints the bound values as well, which may be secret. Default false. */
  readonly values?: boolean
  /** Leaves out statements that took less. Default 0. */
  readonly minMillis?: number
  /** Gets the text of each statement, which ends in a line break. Default: prints it to the standard output. */
  readonly write?: (text: string) => void
  /** Default: true if the standard output is a terminal that has colours, and `write` is not given. */
  readonly colors?: boolean
}

/**
 * Prints each statement when it has ended: its text, how many rows it returned or changed, how long it took, the label of
 * its scope, and the line of the program that ran it. A stream is printed once, at its end.
 *
 * Capturing the line costs each statement some microseconds: it is meant for development.
 *
 * @returns a function that stops it
 * @throws ConfigurationError for an unknown option
 * @example
 * if (process.env.NODE_ENV !== 'production') logQueries(database)
 */
export function logQueries(database: LoggedDatabase, options: QueryLogOptions = {}): () => void {
  return database.observe(new QueryLog(options))
}

const OPTIONS = ['values', 'minMillis', 'write', 'colors']

const KEYWORDS =
  /'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\b(?:select|distinct|from|(?:left |right |inner |cross )?join|on|using|where|and|or|not|in|is|null|as|group by|order by|having|limit|offset|insert into|values|update|set|delete|returning|with|union|case|when|then|else|end|begin|commit|rollback|savepoint|release|create|alter|drop|table|index|conflict|do|nothing|for|asc|desc)\b/gi

type Style = Parameters<typeof styleText>[0]

class QueryLog implements Observer, ObservedTransaction {
  readonly #minMillis: number
  readonly #showsValues: boolean
  readonly #hasColors: boolean
  readonly #write: (text: string) => void

  constructor(options: QueryLogOptions) {
    const { values, minMillis, write, colors } = checkOptions(options, OPTIONS) ?? {}
    this.#showsValues = values === true
    this.#minMillis = minMillis ?? 0
    this.#write = write ?? ((text) => void process.stdout.write(text))
    // Looks at NO_COLOR and FORCE_COLOR as well. What is not a terminal has no such method.
    this.#hasColors = colors ?? (write === undefined && process.stdout.isTTY && process.stdout.hasColors())
  }

  statement(statement: StartedStatement): Observation {
    const started = performance.now()
    const stack = captureCallSite()
    return {
      run: (work) => work(),
      end: (end) => {
        const millis = performance.now() - started
        // Later, so that an error of `write` does not become one of the statement.
        if (millis >= this.#minMillis) process.nextTick(() => this.#print(statement, end, millis, stack))
      },
    }
  }

  transaction(): ObservedTransaction {
    return this
  }

  run<T>(work: () => Promise<T>): Promise<T> {
    return work()
  }

  end(): void {}

  wait(): void {}

  #print({ sql, bindings, label }: StartedStatement, end: StatementEnd, millis: number, stack: Error): void {
    const site = siteOf(stack)
      ?.replace('file://', '')
      .replace(process.cwd() + path.sep, '')
    const facts = [rowsOf(end), `${millis.toFixed(millis < 10 ? 2 : 0)} ms`, label, site]
    const lines = [
      this.#highlighted(dedented(sql)),
      this.#styled('dim', `  ${facts.filter(Boolean).join(', ')}`),
    ]
    if (this.#showsValues && bindings.length > 0) lines.push(`  ${this.#inspected(bindings)}`)
    if (end.error !== undefined) lines.push(this.#styled('red', `  ${describeError(end.error)}`))
    this.#write(`${lines.join('\n')}\n`)
  }

  #inspected(bindings: readonly unknown[]): string {
    return inspect(bindings, {
      colors: this.#hasColors,
      breakLength: Infinity,
      maxArrayLength: 20,
      maxStringLength: 200,
    })
  }

  #highlighted(sql: string): string {
    return sql.replace(KEYWORDS, (found) => (/^['"`]/.test(found) ? found : this.#styled('cyan', found)))
  }

  #styled(style: Style, text: string): string {
    return this.#hasColors ? styleText(style, text, { validateStream: false }) : text
  }
}

function rowsOf({ returnedRows, changedRows }: StatementEnd): string | null {
  if (changedRows !== undefined) return `${counted(changedRows)} changed`
  return returnedRows === undefined ? null : counted(returnedRows)
}

function counted(rows: number): string {
  return rows === 1 ? '1 row' : `${rows} rows`
}

/** Takes away the indentation that the lines share. A first line beside the opening quote of the text has none. */
function dedented(sql: string): string {
  const lines = sql
    .replace(/^\s*\n/, '')
    .trimEnd()
    .split('\n')
  const indented = lines.filter((line, index) => line.trim() !== '' && (index > 0 || line.startsWith(' ')))
  const shared = Math.min(...indented.map((line) => line.search(/\S/)))
  return lines.map((line) => line.slice(Math.min(shared, line.search(/\S|$/)))).join('\n')
}

function describeError(error: unknown): string {
  const own = databaseErrorOf(error)
  return own === null ? String(error) : `${own.code}: ${own.message}`
}
