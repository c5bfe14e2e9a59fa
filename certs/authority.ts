import 'reflect-metadata'
import { KeyObject, randomBytes, type webcrypto } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as x509 from '@peculiar/x509'
import { TidegateError } from '../src/errors.ts'
import { loadTlsFiles } from '../src/tls-files.ts'
import { generateKeys, importSigningKeys, type KeyKind, type SigningAlgorithm } from './algorithms.ts'
import { publicMode, secretMode, writeWhole } from './pem-files.ts'

export const dayMs = 86_400_000
export const authorityDays = 3650
/** Certificates are valid from a day back, because the clocks of small machines are late. */
export const backdatedMs = 24 * 3_600_000

export interface Authority {
  dir: string
  certFile: string
  keyFile: string
  certificate: x509.X509Certificate
  privateKey: webcrypto.CryptoKey
  /** Of everything that the key signs. */
  signingAlgorithm: SigningAlgorithm
  /** Whether this call made it, rather than found it. */
  created: boolean
}

export interface Surroundings {
  /** Default: the wall clock. */
  now?: Date
  /** For serial numbers (not keys); default: the system's. */
  randomBytes?: (size: number) => Uint8Array
}

export interface AuthorityOptions extends Surroundings {
  /** The CA's common name; default `Tidegate development CA`. */
  name?: string
  /** Default ten years. */
  days?: number
  /** Of a new CA; default ECDSA. */
  key?: KeyKind
}

/**
 * The CA of a folder (`ca.crt`, `ca.key` mode 0600), made when there is none: self-signed, may sign certificates
 * and revocation lists, and no CA below it. A key left alone by a crash is used again.
 * @throws TidegateError as `openAuthority` does, and CERTS_FOLDER
 */
export async function createAuthority(dir: string, options: AuthorityOptions = {}): Promise<Authority> {
  const { name = 'Tidegate development CA', days = authorityDays, now = new Date() } = options
  const { certFile, keyFile } = authorityFiles(dir)
  if (existsSync(certFile)) return openAuthority(dir, options)

  if (!existsSync(keyFile)) {
    const { privateKey } = await generateKeys(options.key ?? 'ecdsa')
    await writeWhole(keyFile, keyPem(privateKey), secretMode)
  }
  const { signingAlgorithm, ...keys } = await readSigningKeys(keyFile)
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: [{ CN: [name] }],
    keys,
    serialNumber: serialNumber(options.randomBytes),
    signingAlgorithm,
    notBefore: new Date(now.getTime() - backdatedMs),
    notAfter: new Date(now.getTime() + days * dayMs),
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  await writeWhole(certFile, `${certificate.toString('pem')}\n`, publicMode)
  return { dir, certFile, keyFile, certificate, privateKey: keys.privateKey, signingAlgorithm, created: true }
}

/**
 * The CA that is in the folder already, its two files proven to belong together.
 * @throws TidegateError CERTS_NO_AUTHORITY when there is none or its key is kept elsewhere; TLS_* (see tls-files)
 */
export async function openAuthority(
  dir: string,
  { now = new Date() }: Surroundings = {},
): Promise<Authority> {
  const { certFile, keyFile } = authorityFiles(dir)
  if (!existsSync(certFile) || !existsSync(keyFile)) {
    const missing = existsSync(certFile) ? 'only its certificate (ca.crt), not its key (ca.key)' : 'no CA'
    throw new TidegateError('CERTS_NO_AUTHORITY', {
      message: `${dir} holds ${missing}, so no certificate can be issued from it`,
      retryable: false,
      hint: existsSync(certFile)
        ? 'issue certificates where the key is kept'
        : `make one with \`tidegate certs init --dir ${dir}\``,
    })
  }
  loadTlsFiles({ caFile: certFile, certFile, keyFile, where: 'the certificate authority', now })
  const certificate = new x509.X509Certificate(await readFile(certFile, 'utf8'))
  const { privateKey, signingAlgorithm } = await readSigningKeys(keyFile)
  return { dir, certFile, keyFile, certificate, privateKey, signingAlgorithm, created: false }
}

function authorityFiles(dir: string): { certFile: string; keyFile: string } {
  return { certFile: join(dir, 'ca.crt'), keyFile: join(dir, 'ca.key') }
}

/** Sixteen random bytes, positive and never shortened by DER (RFC 5280, 4.1.2.2). */
export function serialNumber(random: (size: number) => Uint8Array = randomBytes): string {
  const bytes = Buffer.from(random(16))
  bytes[0] = (bytes[0]! & 0x3f) | 0x40
  return bytes.toString('hex')
}

export function keyPem(privateKey: webcrypto.CryptoKey): string {
  return KeyObject.from(privateKey).export({ type: 'pkcs8', format: 'pem' }).toString()
}

/** The key is checked against its certificate by whoever opens both. */
async function readSigningKeys(keyFile: string): ReturnType<typeof importSigningKeys> {
  try {
    return await importSigningKeys(await readFile(keyFile, 'utf8'))
  } catch (error) {
    throw new TidegateError('CERTS_AUTHORITY_KEY', {
      message: `${keyFile} holds no private key that Tidegate signs with: ECDSA P-256, or RSA of 2048 bits or more`,
      retryable: false,
      hint: 'issue with the tool the CA was made with, or make a CA in an empty folder',
      cause: error,
    })
  }
}
