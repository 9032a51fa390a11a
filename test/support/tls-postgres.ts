/** A PostgreSQL server that speaks TLS, by a certificate of its own for localhost and 127.0.0.1. */
import { chown, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { serverIdentity } from './postgres-programs'
import { type PostgresServer, startPostgres } from './postgres-server'

/** Made for these tests: it opens nothing else. */
const KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgWqEebeYhkVgvYp6v
aFMC/Dl781gtUM7agzvI4oR0eiGhRANCAARif0ATQk5qze7YSwmayAMuAd4lZo8h
hZDd9nApDMaD1Iiryk4idoQEJ2o53W3ummoJviRd3TVHcarFWsBf4seu
-----END PRIVATE KEY-----
`

const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBZjCCAQ2gAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMM
CWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABGJ/QBNCTmrN7thL
CZrIAy4B3iVmjyGFkN32cCkMxoPUiKvKTiJ2hAQnajndbe6aagm+JF3dNUdxqsVa
wF/ix66jTjBMMBoGA1UdEQQTMBGCCWxvY2FsaG9zdIcEfwAAATAPBgNVHRMBAf8E
BTADAQH/MB0GA1UdDgQWBBTvPQIzy7oWjWbHrUak4peQ8H3eWTAKBggqhkjOPQQD
AgNHADBEAiB+w5xENxhfninYzlKnJJnTauMVElB0pfkS28kPhSeVqgIgaqw8LSBj
mF+k3MtP/gsFBJICBJyivGze83wTqFqLTyI=
-----END CERTIFICATE-----
`

export interface TlsPostgres extends PostgresServer {
  /** The file of the certificate, for those who want to know whom they talk to. */
  readonly certificate: string
}

export async function startTlsPostgres(): Promise<TlsPostgres> {
  const folder = await mkdtemp(path.join(tmpdir(), 'millpond-tls-'))
  const certificate = path.join(folder, 'certificate.pem')
  const key = path.join(folder, 'key.pem')
  await writeFile(certificate, CERTIFICATE)
  await writeFile(key, KEY, { mode: 0o600 })
  const identity = serverIdentity()
  // PostgreSQL takes no key that others could read.
  if (identity.uid !== undefined) {
    const { uid, gid } = identity
    for (const one of [folder, certificate, key]) await chown(one, uid, gid)
  }
  const server = await startPostgres({ ssl: 'on', ssl_cert_file: certificate, ssl_key_file: key })
  return {
    url: server.url,
    certificate,
    async stop() {
      await server.stop()
      await rm(folder, { recursive: true })
    },
  }
}
