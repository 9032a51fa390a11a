#!/usr/bin/env node
/** The command line: `millpond types`. */
import { existsSync } from 'node:fs'
import { DatabaseError } from '../database'
import { TYPES_HELP, typesCommand } from './types-command'
import { UsageError } from './usage-error'

const HELP = `Usage: millpond <command> [options]

Commands:
  types   Write a TypeScript interface of the tables of a database

millpond <command> --help tells about a command.
`

async function main([command, ...args]: readonly string[]): Promise<number> {
  const wantsHelp = args.includes('--help') || args.includes('-h')
  if (command === 'types' && wantsHelp) return tell(TYPES_HELP)
  if (command === 'types') {
    if (existsSync('.env')) process.loadEnvFile('.env')
    return typesCommand(args, process.env['DATABASE_URL'])
  }
  if (command === undefined || command === '--help' || command === '-h') return tell(HELP)
  throw new UsageError(`There is no command '${command}'.`)
}

function tell(text: string): number {
  process.stdout.write(text)
  return 0
}

main(process.argv.slice(2)).then(
  (exitCode) => {
    process.exitCode = exitCode
  },
  (error: unknown) => {
    const isExpected = error instanceof UsageError || error instanceof DatabaseError
    process.stderr.write(
      `millpond: ${isExpected ? error.message : ((error as Error).stack ?? String(error))}\n`,
    )
    process.exitCode = 2
  },
)
