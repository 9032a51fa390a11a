/** Other releases of Node, from npm. */
import { execFileSync } from 'node:child_process'

/** Where npm keeps the program of that release, such as `24`; fetched if need be. */
export function programOf(release: string): string {
  const ask = ['exec', '--yes', `--package=node@${release}`, '--', 'node', '-p', 'process.execPath']
  return execFileSync('npm', ask, { encoding: 'utf8' }).trim()
}
