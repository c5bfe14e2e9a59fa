import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as x509 from '@peculiar/x509'
import { TidegateError } from '../src/errors.ts'
import { readCertificates } from '../src/pem-files.ts'
import { kindOfKey, publicKeyOf } from './algorithms.ts'
import type { Authority } from './authority.ts'
import { isKept, type Issue, refuseName, refuseOtherKind, signCertificate } from './issue.ts'
import { replaceCertificate } from './pem-files.ts'

/** A larger file is no request. */
const requestBytesMax = 64 * 1024

/** A certificate for a key that stays where it is: in the device, or in its TPM. */
export interface SignedCertificate {
  commonName: string
  certFile: string
  /** False when a good certificate for this key was there already and was kept. */
  issued: boolean
}

/** Whoever asks has the key: it has signed the request (RFC 2986, 4.2). */
export interface SigningRequest {
  /** What it asks to be called; undefined when it names nobody, or several. */
  commonName: string | undefined
  publicKey: x509.PublicKey
}

/** A PKCS #10 request of a file, PEM or DER. @throws TidegateError CERTS_REQUEST */
export async function readSigningRequest(file: string): Promise<SigningRequest> {
  const bytes = await readFile(file).catch((error: unknown) => {
    throw badRequest(`${file} cannot be read`, error)
  })
  return parseSigningRequest(bytes, file)
}

/** @throws TidegateError CERTS_REQUEST */
export async function parseSigningRequest(bytes: Buffer, where: string): Promise<SigningRequest> {
  if (bytes.length > requestBytesMax) throw badRequest(`${where} has ${bytes.length} bytes`)
  let request: x509.Pkcs10CertificateRequest
  let proven: boolean
  try {
    const text = bytes.toString('latin1')
    request = new x509.Pkcs10CertificateRequest(text.includes('-----BEGIN') ? text : new Uint8Array(bytes))
    proven = await request.verify()
  } catch (error) {
    throw badRequest(`${where} is no certificate signing request (PKCS #10, PEM or DER)`, error)
  }
  if (!proven) throw badRequest(`the signature of ${where} is not that of the key in it`)
  if (kindOfKey(publicKeyOf(request)) === undefined)
    throw badRequest(
      `the key in ${where} is too weak or of another kind: ECDSA on P-256 or P-384, or RSA of 2048 to 8192 bits`,
    )
  const names = request.subjectName.getField('CN')
  return { commonName: names.length === 1 ? names[0] : undefined, publicKey: request.publicKey }
}

/**
 * `<commonName>.crt` in `outDir` for the key of a request. Of what the request asks for nothing is taken over but the key: whose it is and
 * what for is said by whoever signs. Kept as it is when a good certificate for this key and these names is there.
 * @throws TidegateError CERTS_NAME, CERTS_REQUEST (it asks to be called something else), CERTS_TAKEN (there is a certificate for another
 * key, or of another kind, under that name), CERTS_AUTHORITY_ENDS, CERTS_FOLDER
 */
export async function signRequest(
  authority: Authority,
  request: SigningRequest,
  issue: Issue,
): Promise<SignedCertificate> {
  const { commonName, outDir, force = false, now = new Date() } = issue
  refuseName(authority, issue)
  if (request.commonName !== undefined && request.commonName !== commonName)
    throw badRequest(
      `the request asks for ${JSON.stringify(request.commonName)}, not for ${JSON.stringify(commonName)}`,
    )
  const certFile = join(outDir, `${commonName}.crt`)
  if (!force && existsSync(certFile)) {
    refuseOtherKind(certFile, issue)
    const [present] = readCertificates(certFile, 'certificates').certificates
    if (!present.publicKey.equals(publicKeyOf(request))) throw takenByAnotherKey(certFile)
    if (await isKept(authority, certFile, issue, now)) return { commonName, certFile, issued: false }
  }
  const certificate = await signCertificate(authority, request.publicKey, issue)
  await replaceCertificate(certFile, `${certificate.toString('pem')}\n`)
  return { commonName, certFile, issued: true }
}

function takenByAnotherKey(certFile: string): TidegateError {
  return new TidegateError('CERTS_TAKEN', {
    message: `${certFile} was issued for another key`,
    retryable: false,
    hint: '--force replaces it, and its key file if there is one; until it ends or is revoked, the certificate that was issued before is as good as the new one',
  })
}

function badRequest(message: string, cause?: unknown): TidegateError {
  return new TidegateError('CERTS_REQUEST', {
    message,
    retryable: false,
    hint: 'make one where the key is: `openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout boiler-7.key -subj /CN=boiler-7 -out boiler-7.csr`',
    cause,
  })
}
