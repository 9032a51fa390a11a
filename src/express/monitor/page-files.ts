/** The files that the monitor's page is made of. In the package that is published their content stands in this file. */
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'

/** The build copies it, so that it is beside this file in dist/ too. */
const FOLDER = path.join(__dirname, 'assets')

export const pageFiles: ReadonlyMap<string, string> = new Map(
  readdirSync(FOLDER).map((name) => [name, readFileSync(path.join(FOLDER, name), 'utf8')]),
)
