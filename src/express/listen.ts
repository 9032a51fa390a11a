/** Makes a server listen, with an error that explains why it cannot. */
import { once } from 'node:events'
import type { Server } from 'node:http'

/** The server could not listen. `code` is the system's, such as `EADDRINUSE`. */
export class ListenError extends Error {
  constructor(
    message: string,
    readonly code: string,
    options: { readonly cause: unknown },
  ) {
    super(message, options)
    this.name = 'ListenError'
  }
}

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'is already in use. Stop the other program, or choose another port.',
  EACCES: 'may not be used by this user. Choose a port from 1024 up.',
  EADDRNOTAVAIL: 'is not an address of this machine.',
  ENOTFOUND: 'is not a known host.',
}

/** @throws ListenError */
export async function listen(server: Server, port: number, host: string | undefined): Promise<void> {
  server.listen({ port, host })
  try {
    await once(server, 'listening')
  } catch (error) {
    const { code = 'UNKNOWN', message } = error as NodeJS.ErrnoException
    const where = `${host === undefined ? '' : `${host} `}port ${port}`
    throw new ListenError(`Cannot listen: ${where} ${REASONS[code] ?? `gives ${message}`}`, code, {
      cause: error,
    })
  }
}

/** Returns the server's address as a URL that can be opened on this machine. */
export function urlOf(server: Server): string {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('The server is not listening.')
  const isAny = address.address === '::' || address.address === '0.0.0.0'
  const host = isAny ? 'localhost' : address.address.includes(':') ? `[${address.address}]` : address.address
  return `http://${host}:${address.port}`
}
