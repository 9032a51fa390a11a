/** TLS to PostgreSQL, as libpq means its sslmode: https://www.postgresql.org/docs/current/libpq-ssl.html */
import { readFileSync } from 'node:fs'
import { isIP, type Socket } from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import { ConfigurationError } from '../errors'
import type { DatabaseURL } from '../url'
import { codeOf, messageOf } from '../driver/driver-error'
import { mayPass } from './errors'

const MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const
type Mode = (typeof MODES)[number]

/** What pg takes as `ssl`: false for none, undefined for what its environment says. */
export type Tls = ConnectionOptions | false | undefined

export interface TlsSettings {
  readonly ssl: Tls
  /** What is tried when the server refuses the first way. */
  readonly otherwise?: Tls
}

/** @throws ConfigurationError for a mode that there is not, or a file that cannot be read */
export function tlsOf(url: DatabaseURL): TlsSettings {
  const { host, sslrootcert, sslcert, sslkey } = url.options
  const mode = modeOf(url)
  // libpq: "sslmode is ignored for Unix domain socket communication".
  if (mode === 'disable' || (url.hostname ?? host)?.startsWith('/') === true) return { ssl: false }
  if (mode === undefined) return { ssl: undefined }
  if ((sslcert === undefined) !== (sslkey === undefined))
    throw new ConfigurationError('sslcert and sslkey belong together: give both of them, or none.')
  const files = {
    ca: sslrootcert === SYSTEM ? undefined : sslrootcert,
    cert: sslcert,
    key: sslkey,
  }
  const tls: ConnectionOptions = {
    ...Object.fromEntries(
      Object.entries(files).flatMap(([name, file]) => (file === undefined ? [] : [[name, contentOf(file)]])),
    ),
    // As libpq: a mode that only encrypts does not ask who is there, unless it is told whom to trust.
    rejectUnauthorized: mode.startsWith('verify') || sslrootcert !== undefined,
    ...(mode === 'verify-full' ? {} : { checkServerIdentity: () => undefined }),
  }
  if (mode === 'allow') return { ssl: false, otherwise: tls }
  return mode === 'prefer' ? { ssl: tls, otherwise: false } : { ssl: tls }
}

/** Stands for the authorities that Node trusts. */
const SYSTEM = 'system'

function modeOf({ options }: DatabaseURL): Mode | undefined {
  const { sslmode, sslrootcert, sslcert, sslkey } = options
  if (sslmode === undefined) {
    if (sslrootcert === SYSTEM) return 'verify-full'
    if ((sslrootcert ?? sslcert ?? sslkey) === undefined) return undefined
    throw new ConfigurationError(
      'sslrootcert, sslcert and sslkey do nothing without sslmode. Write sslmode=verify-full.',
    )
  }
  const mode = MODES.find((each) => each === sslmode)
  if (mode === undefined) {
    const advice = sslmode === 'no-verify' ? ' Write require, which does not ask who is there.' : ''
    throw new ConfigurationError(`sslmode is one of ${MODES.join(', ')}, got '${sslmode}'.${advice}`)
  }
  if (sslrootcert === SYSTEM && mode !== 'verify-full') {
    throw new ConfigurationError(
      `sslrootcert=system needs sslmode=verify-full, got '${mode}': anybody can get a certificate of such an authority.`,
    )
  }
  return mode
}

const BINDINGS = ['disable', 'prefer', 'require']

/** Whether the login is to prove that it is the server itself at the other end of TLS. pg does nothing for it unasked. */
export function channelBindingOf({ options: { channel_binding: asked } }: DatabaseURL): string | undefined {
  if (asked === undefined || BINDINGS.includes(asked)) return asked
  throw new ConfigurationError(`channel_binding is one of ${BINDINGS.join(', ')}, got '${asked}'.`)
}

/** The part of pg's connection that tells of the login. */
export interface Login {
  readonly stream: Socket
  emit(event: 'error', error: Error): void
  prependListener(
    event: string,
    listener: (message: { readonly mechanisms?: readonly string[] }) => void,
  ): void
}

/** Ends a login that does not prove it, before a password is sent: pg prefers one that does, and takes any. */
export function requireChannelBinding(login: Login): void {
  let isBound = false
  for (const step of ['SASL', 'CleartextPassword', 'MD5Password', 'Ok']) {
    login.prependListener(`authentication${step}`, ({ mechanisms }) => {
      isBound ||= mechanisms?.includes('SCRAM-SHA-256-PLUS') === true
      if (isBound) return
      // The server may have said already that it is ready.
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

/** What tls.connect needs to know about the host: a name for SNI may not be an address. */
export function identityOf(host: string): ConnectionOptions {
  return isIP(host) === 0 ? { host, servername: host } : { host }
}

/** What another way may help against: what the server says, and TLS that fails. Not a server that is away. */
export function isRefusal(error: unknown): boolean {
  return !mayPass(error) && !(error instanceof Error && 'syscall' in error) && codeOf(error) !== 'ENOTFOUND'
}

/** The error that says more when both ways have failed: what a server without TLS says to a client that wants it is the less. */
export function moreTelling({ encrypted, plain }: { encrypted: unknown; plain: unknown }): unknown {
  return messageOf(encrypted) === 'The server does not support SSL connections' ? plain : encrypted
}
