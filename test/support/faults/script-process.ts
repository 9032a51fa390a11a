/** A script in a Node of its own, which is told what to do and answers line by line. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { toRun } from '../compiled'
import { waitFor } from '../wait-for'

export class ScriptProcess implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #lines: string[] = []
  /** The line that has not ended yet. */
  #rest = ''
  #errors = ''
  #isClosed = false

  /** Starts a script of this folder, with one argument that it reads as JSON. */
  constructor(script: string, argument: unknown) {
    const file = path.join(__dirname, script)
    this.#child = spawn(process.execPath, [...toRun(file), JSON.stringify(argument)], {
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const lines = (this.#rest + text).split('\n')
      this.#rest = lines.pop() ?? ''
      for (const line of lines) this.#lines.push(line)
    })
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#errors += text))
    // It may have been killed before it is told anything.
    this.#child.stdin?.on('error', () => undefined)
    this.#child.once('close', () => (this.#isClosed = true))
  }

  /** What it has printed so far. A line that was cut off by its end is none. */
  get lines(): readonly string[] {
    return this.#lines
  }

  /** What it has written to stderr. */
  get complaints(): string {
    return this.#errors
  }

  tell(line: string): void {
    this.#child.stdin?.write(`${line}\n`)
  }

  /** Resolves to the line of that number, counted from 0, once it has been printed. */
  async line(index: number, timeoutMillis = 20_000): Promise<string> {
    const has = (): boolean => this.#lines.length > index || this.#isClosed
    await waitFor(has, { timeoutMillis, what: `line ${index} of a script` })
    const line = this.#lines[index]
    if (line === undefined) throw new Error(`The script has ended before: ${this.#errors}`)
    return line
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  kill(): void {
    this.signal('SIGKILL')
  }

  /** Resolves to its exit code, or to the name of the signal that ended it, when all that it printed has come. */
  async ended(): Promise<number | string | null> {
    if (!this.#isClosed) await once(this.#child, 'close')
    return this.#child.exitCode ?? this.#child.signalCode
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill()
    await this.ended()
  }
}
