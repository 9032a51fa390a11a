/** Certificates for test servers, made for each run. */
// oxlint-disable-next-line import/no-unassigned-import -- what @peculiar/x509 is built on, and does not load itself
import 'reflect-metadata'
import { webcrypto } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import {
  BasicConstraintsExtension,
  type JsonGeneralName,
  SubjectAlternativeNameExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509'

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }

/** Files in PEM. */
export interface Identity {
  readonly cert: string
  readonly key: string
}

interface Issuer {
  readonly certificate: X509Certificate
  readonly keys: webcrypto.CryptoKeyPair
}

/** A folder with certificates, readable by all users, since none outlives its test. */
export class Certificates implements AsyncDisposable {
  readonly #folder: string
  readonly #issuers = new Map<string, Issuer>()

  private constructor(folder: string) {
    this.#folder = folder
  }

  static async make(): Promise<Certificates> {
    return new Certificates(await mkdtemp(path.join(tmpdir(), 'millpond-certificates-')))
  }

  /** Makes an authority and returns the file of its certificate. */
  async authority(name: string): Promise<string> {
    const keys = await newKeys()
    const certificate = await X509CertificateGenerator.createSelfSigned({
      name: `CN=${name}`,
      keys,
      ...lifetime(),
      extensions: [new BasicConstraintsExtension(true)],
    })
    this.#issuers.set(name, { certificate, keys })
    return this.#write(`${name}.pem`, certificate.toString('pem'))
  }

  /** Makes a certificate that an authority has signed, for a server under these names, or for a client called so. */
  async signed(authority: string, name: string, names: JsonGeneralName[] = []): Promise<Identity> {
    const issuer = this.#issuers.get(authority)
    if (issuer === undefined) throw new Error(`There is no authority ${authority}`)
    const keys = await newKeys()
    const certificate = await X509CertificateGenerator.create({
      subject: `CN=${name}`,
      issuer: issuer.certificate.subject,
      publicKey: keys.publicKey,
      signingKey: issuer.keys.privateKey,
      ...lifetime(),
      extensions: names.length > 0 ? [new SubjectAlternativeNameExtension(names)] : [],
    })
    const secret = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64')
    const key = `-----BEGIN PRIVATE KEY-----\n${secret.replace(/.{64}/g, '$&\n')}\n-----END PRIVATE KEY-----\n`
    return {
      cert: await this.#write(`${authority}-${name}.crt`, certificate.toString('pem')),
      key: await this.#write(`${authority}-${name}.key`, key),
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true })
  }

  async #write(name: string, text: string): Promise<string> {
    const file = path.join(this.#folder, name)
    await writeFile(file, text)
    return file
  }
}

function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
}

function lifetime(): { notBefore: Date; notAfter: Date; signingAlgorithm: typeof ALGORITHM } {
  const hour = 60 * 60 * 1000
  return {
    notBefore: new Date(Date.now() - hour),
    notAfter: new Date(Date.now() + hour),
    signingAlgorithm: ALGORITHM,
  }
}
