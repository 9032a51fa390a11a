/** Finds out what operators should know of a connection to PostgreSQL: the rights of its role, and whether it is encrypted. */
import { BlockList, isIPv6 } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { Security } from '../driver/dialect'
import type { RawConnection } from './client'

const LOCAL = new BlockList()
LOCAL.addSubnet('127.0.0.0', 8)
LOCAL.addAddress('::1', 'ipv6')

/** Judges the address, not the host name: names other than `localhost` can stand for a loopback address. */
export function isRemoteAddress(address: string | undefined): boolean {
  // A Unix domain socket has no address.
  if (address === undefined) return false
  return !LOCAL.check(address, isIPv6(address) ? 'ipv6' : 'ipv4')
}

export async function security(raw: object, ask: (sql: string) => Promise<unknown>): Promise<Security> {
  const { stream } = (raw as RawConnection).connection
  return {
    isSuperuser: (await ask("SELECT current_setting('is_superuser')")) === 'on',
    isRemote: isRemoteAddress(stream.remoteAddress),
    // Not from pg_stat_ssl: behind a pooler that describes the connection between the pooler and the server.
    isEncrypted: stream instanceof TLSSocket,
  }
}
