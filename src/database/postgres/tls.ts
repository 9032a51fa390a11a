/** TLS options for PostgreSQL, with libpq's meaning of sslmode: https://www.postgresql.org/docs/current/libpq-ssl.html */
import { readFileSync } from 'node:fs'
import { isIP, type Socket } from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import { ConfigurationError } from '../errors'
import type { DatabaseURL } from '../url'
import { codeOf, messageOf } from '../driver/driver-error'
import { isTransientError } from './errors'

const MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const
type Mode = (typeof MODES)[number]

/** pg's option `ssl`: false means no TLS, undefined leaves it to PGSSLMODE. */
export type Tls = ConnectionOptions | false | undefined

export interface TlsSettings {
  readonly ssl: Tls
  /** Tried when the server refuses `ssl`. */
  readonly fallbackSsl?: Tls
}

/** @throws ConfigurationError for an unknown mode, or a file that cannot be read */
export function tlsOf(url: DatabaseURL): TlsSettings {
  const { host, sslrootcert, sslcert, sslkey } = url.options
  const mode = modeOf(url)
  // libpq: "sslmode is ignored for Unix domain socket communication".
  if (mode === 'disable' || (host ?? url.hostname)?.startsWith('/') === true) return { ssl: false }
  if (mode === undefined) return { ssl: undefined }
  if ((sslcert === undefined) !== (sslkey === undefined))
    throw new ConfigurationError('sslcert and sslkey belong together: give both of them, or none.')
  const files = {
    ca: sslrootcert === SYSTEM_AUTHORITIES ? undefined : sslrootcert,
    cert: sslcert,
    key: sslkey,
  }
  const tls: ConnectionOptions = {
    ...Object.fromEntries(
      Object.entries(files).flatMap(([name, file]) => (file === undefined ? [] : [[name, contentOf(file)]])),
    ),
    // As in libpq, a mode that only encrypts does not verify the server, unless a root certificate is given.
    rejectUnauthorized: mode.startsWith('verify') || sslrootcert !== undefined,
    ...(mode === 'verify-full' ? {} : { checkServerIdentity: () => undefined }),
  }
  if (mode === 'allow') return { ssl: false, fallbackSsl: tls }
  return mode === 'prefer' ? { ssl: tls, fallbackSsl: false } : { ssl: tls }
}

/** The value of sslrootcert for the authorities that Node trusts. */
const SYSTEM_AUTHORITIES = 'system'

/** What libpq means by `ssl`, which is JDBC's. */
const ALIASES = new Map<string | undefined, Mode>([
  ['true', 'require'],
  ['1', 'require'],
  ['false', 'disable'],
  ['0', 'disable'],
])

function modeOf({ options }: DatabaseURL): Mode | undefined {
  const { ssl, sslrootcert, sslcert, sslkey } = options
  const sslmode = options['sslmode'] ?? ALIASES.get(ssl) ?? ssl
  if (sslmode === undefined) {
    if (sslrootcert === SYSTEM_AUTHORITIES) return 'verify-full'
    if ((sslrootcert ?? sslcert ?? sslkey) === undefined) return undefined
    throw new ConfigurationError(
      'sslrootcert, sslcert and sslkey do nothing without sslmode. Write sslmode=verify-full.',
    )
  }
  const mode = sslmode === 'no-verify' ? 'require' : MODES.find((each) => each === sslmode)
  if (mode === undefined)
    throw new ConfigurationError(`sslmode is one of ${MODES.join(', ')}, got '${sslmode}'.`)
  if (sslrootcert === SYSTEM_AUTHORITIES && mode !== 'verify-full') {
    throw new ConfigurationError(
      `sslrootcert=system needs sslmode=verify-full, got '${mode}': anybody can get a certificate of such an authority.`,
    )
  }
  return mode
}

const CHANNEL_BINDINGS = ['disable', 'prefer', 'require']

/** Returns the URL's channel_binding: whether the login proves that TLS ends at the server itself. pg does not do it by default. */
export function channelBindingOf({ options: { channel_binding: asked } }: DatabaseURL): string | undefined {
  if (asked === undefined || CHANNEL_BINDINGS.includes(asked)) return asked
  throw new ConfigurationError(`channel_binding is one of ${CHANNEL_BINDINGS.join(', ')}, got '${asked}'.`)
}

/** The part of pg's Connection that reports the steps of the login. */
export interface Login {
  readonly stream: Socket
  emit(event: 'error', error: Error): void
  prependListener(
    event: string,
    listener: (message: { readonly mechanisms?: readonly string[] }) => void,
  ): void
}

/** Ends a login without channel binding before a password is sent: pg prefers channel binding, but accepts any login. */
export function requireChannelBinding(login: Login): void {
  let isBound = false
  for (const step of ['SASL', 'CleartextPassword', 'MD5Password', 'Ok']) {
    login.prependListener(`authentication${step}`, ({ mechanisms }) => {
      isBound ||= mechanisms?.includes('SCRAM-SHA-256-PLUS') === true
      if (isBound) return
      // Emitted as well, since the login may be complete by now.
      login.emit('error', new Error('it lets users in without channel binding, which the URL requires'))
      login.stream.destroy()
    })
  }
}

function contentOf(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new ConfigurationError(`A file of the database URL cannot be read: ${messageOf(error)}.`, {
      cause: error,
    })
  }
}

/** Returns the host options of tls.connect: an IP address is not allowed as the name for SNI. */
export function serverIdentity(host: string): ConnectionOptions {
  return isIP(host) === 0 ? { host, servername: host } : { host }
}

/** Returns whether connecting with the other TLS setting may help: for a refusal or a TLS failure, not if the server is unreachable. */
export function isTlsRefusal(error: unknown): boolean {
  return (
    !isTransientError(error) &&
    !(error instanceof Error && 'syscall' in error) &&
    codeOf(error) !== 'ENOTFOUND'
  )
}

/** Returns the more specific error when both ways have failed: "does not support SSL" is the less specific. */
export function moreSpecificError({ encrypted, plain }: { encrypted: unknown; plain: unknown }): unknown {
  return messageOf(encrypted) === 'The server does not support SSL connections' ? plain : encrypted
}
