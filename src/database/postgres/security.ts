/** What operators should know of a connection to PostgreSQL: what its user may do, and who could listen in on the way. */
import { BlockList, isIPv6 } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { Security } from '../driver/dialect'
import type { RawConnection } from './client'

const LOCAL = new BlockList()
LOCAL.addSubnet('127.0.0.0', 8)
LOCAL.addAddress('::1', 'ipv6')

/** The same by name would not do: `localhost` is local, and so is any other name that stands for a loopback address. */
export function isRemoteAddress(address: string | undefined): boolean {
  // That of a Unix domain socket.
  if (address === undefined) return false
  return !LOCAL.check(address, isIPv6(address) ? 'ipv6' : 'ipv4')
}

export async function security(raw: object, ask: (sql: string) => Promise<unknown>): Promise<Security> {
  const { stream } = (raw as RawConnection).connection
  return {
    isSuperuser: (await ask("SELECT current_setting('is_superuser')")) === 'on',
    isRemote: isRemoteAddress(stream.remoteAddress),
    // Not pg_stat_ssl: behind a pooler that knows of the way from the pooler on, and not of the one up to it.
    isEncrypted: stream instanceof TLSSocket,
  }
}
