/** The service as a process of its own, started from its real entry point. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { toRun } from '../../support/compiled'
import { waitFor } from '../../support/wait-for'

const MAIN = path.resolve(__dirname, '../../../src/service/main.ts')

/** A process that is started beside many others on a busy machine takes long to load its files. */
const START_MILLIS = 60_000

export class ServiceProcess implements AsyncDisposable {
  readonly #child: ChildProcess
  #output = ''
  #errors = ''

  /** Starts it with these variables and no others, away from any `.env`. */
  constructor(variables: Readonly<Record<string, string>>, args: readonly string[] = toRun(MAIN)) {
    const { PATH = '' } = process.env
    this.#child = spawn(process.execPath, args, {
      cwd: tmpdir(),
      env: { PATH, ...variables },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child.stdout?.on('data', (data: Buffer) => (this.#output += data.toString()))
    this.#child.stderr?.on('data', (data: Buffer) => (this.#errors += data.toString()))
  }

  /** What it logged so far. */
  get messages(): string[] {
    const lines = this.#output.split('\n').filter((line) => line.startsWith('{'))
    return lines.map((line) => (JSON.parse(line) as { msg: string }).msg)
  }

  /** What it wrote to stderr, line by line. */
  get complaints(): string[] {
    return this.#errors.split('\n').filter((line) => line !== '')
  }

  get everything(): string {
    return this.#output + this.#errors
  }

  /** Resolves to its URL once it listens. */
  async listening(): Promise<string> {
    const message = await this.said(/^listening on/)
    return message.replace('listening on ', '')
  }

  /** Resolves to a message that matches, once there is one. */
  said(pattern: RegExp): Promise<string> {
    return waitFor(
      () => {
        if (this.#child.exitCode !== null) throw new Error(`It has ended: ${this.everything}`)
        return this.messages.find((message) => pattern.test(message))
      },
      { timeoutMillis: START_MILLIS, what: `the service to say ${pattern.source}` },
    )
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Resolves to its exit code, or to the name of the signal that ended it. */
  async ended(): Promise<number | string | null> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'close')
    return this.#child.exitCode ?? this.#child.signalCode
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill('SIGKILL')
    await this.ended()
  }
}
