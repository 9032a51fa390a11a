/** A program of somebody who installs the library: a folder with the packed package in it, and commands that are run there. */
import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'

export const ROOT = path.resolve(__dirname, '../..')
const run = promisify(execFile)
/** Only for what hangs. */
const LONGEST_MILLIS = 300_000

/** What a command has printed, and whether it failed. */
export interface Outcome {
  readonly output: string
  readonly failed: boolean
}

/** Builds and packs the library, and returns the path of the archive. */
export async function pack(folder: string): Promise<string> {
  const built = path.join(folder, 'package')
  await run(process.execPath, ['build/package.mjs', built], { cwd: ROOT })
  const { stdout } = await run('npm', ['pack', '--silent', '--pack-destination', folder], { cwd: built })
  return path.join(folder, stdout.trim())
}

/** Makes an empty folder. */
export function temporaryFolder(): Promise<string> {
  return mkdtemp(path.join(tmpdir(), 'millpond-package-'))
}

/** A package with the version that the tests of this repository run with, which npm has in its cache. */
export function locked(name: string): string {
  const manifest = path.join(ROOT, 'node_modules', name, 'package.json')
  return `${name}@${(JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version}`
}

export class Project {
  private constructor(readonly folder: string) {}

  /** Makes a project in which these packages are installed, by their names or archives. */
  static async install(packages: readonly string[]): Promise<Project> {
    const project = new Project(await temporaryFolder())
    await project.write({ 'package.json': '{ "private": true }' })
    if (packages.length > 0) {
      const { output, failed } = await project.npm('install', '--prefer-offline', '--ignore-scripts', ...packages)
      if (failed) throw new Error(output)
    }
    return project
  }

  async write(files: Readonly<Record<string, string>>): Promise<void> {
    for (const [name, content] of Object.entries(files)) {
      const file = path.join(this.folder, name)
      await mkdir(path.dirname(file), { recursive: true })
      await writeFile(file, content)
    }
  }

  /** Borrows a package of this repository, such as sqlite3, which would be compiled anew. */
  async borrow(name: string): Promise<void> {
    const link = path.join(this.folder, 'node_modules', name)
    await mkdir(path.dirname(link), { recursive: true })
    await symlink(path.join(ROOT, 'node_modules', name), link)
  }

  /** Copies a file into another folder, where there are no packages. */
  async moveOut(file: string): Promise<string> {
    const lone = path.join(await temporaryFolder(), path.basename(file))
    await cp(path.join(this.folder, file), lone)
    return lone
  }

  npm(...args: string[]): Promise<Outcome> {
    return this.run('npm', args)
  }

  /** Runs Node in the project. A first argument such as `typescript/bin/tsc` is a program of this repository. */
  node(args: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<Outcome> {
    const program = path.join(ROOT, 'node_modules', args[0] ?? '')
    const found = args[0] !== undefined && !args[0].startsWith('-') && existsSync(program)
    return this.run(process.execPath, found ? [program, ...args.slice(1)] : args, environment)
  }

  async run(
    command: string,
    args: readonly string[],
    environment: Readonly<Record<string, string>> = {},
  ): Promise<Outcome> {
    // Jest's own variables would tell the program that it is a test.
    const { NODE_ENV: _, JEST_WORKER_ID: _id, TEST_COMPILED: _compiled, ...inherited } = process.env
    const options = {
      cwd: this.folder,
      env: { ...inherited, NO_COLOR: '1', ...environment },
      timeout: LONGEST_MILLIS,
      maxBuffer: 1 << 26,
    }
    try {
      const { stdout, stderr } = await run(command, args, options)
      return { output: stdout + stderr, failed: false }
    } catch (error) {
      const { stdout, stderr, message } = error as { stdout?: string; stderr?: string; message: string }
      return { output: `${stdout ?? ''}${stderr ?? ''}` || message, failed: true }
    }
  }

  remove(): Promise<void> {
    return rm(this.folder, { recursive: true, force: true })
  }
}
