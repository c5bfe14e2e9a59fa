import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { join, resolve } from 'node:path'
import * as x509 from '@peculiar/x509'
import { TidegateError } from '../src/errors.ts'
import { deviceIdPattern } from '../src/contract/event.ts'
import { readCertificates } from '../src/pem-files.ts'
import { kindOids, loadTlsFiles } from '../src/tls-files.ts'
import { generateKeys, type KeyKind } from './algorithms.ts'
import { backdatedMs, dayMs, keyPem, serialNumber, type Authority, type Surroundings } from './authority.ts'
import { publicMode, secretMode, writeWhole } from './pem-files.ts'
import { type Holder, register, roleOf } from './register.ts'
import { revokedSerials } from './revoke.ts'

/** A certificate with fewer days left is issued anew rather than kept. */
export const renewBeforeDays = 30

export interface Issue extends Holder, Surroundings {
  /** Default 825; never beyond the CA's own end. */
  days?: number
  outDir: string
  /** Issue anew even if a good certificate is there. */
  force?: boolean
}

export interface CertificateRequest extends Issue {
  /** Of a new key; default ECDSA. */
  key?: KeyKind
}

export interface IssuedCertificate {
  commonName: string
  certFile: string
  keyFile: string
  /** False when a good certificate was there already and was kept. */
  issued: boolean
}

/**
 * `<commonName>.crt` and `.key` (mode 0600) in `outDir`, signed by the authority. Kept as they are when they are
 * of this authority, for the same names, not revoked and good for more than 30 days; so issuing is safe to repeat.
 * @throws TidegateError CERTS_NAME (a name that cannot be an identity), CERTS_TAKEN (another kind of certificate
 * is there under that name), CERTS_AUTHORITY_ENDS (the CA itself is about to expire), CERTS_FOLDER
 */
export async function issueCertificate(
  authority: Authority,
  request: CertificateRequest,
): Promise<IssuedCertificate> {
  const { commonName, outDir, force = false, now = new Date() } = request
  refuseName(authority, request)
  const paths = { certFile: join(outDir, `${commonName}.crt`), keyFile: join(outDir, `${commonName}.key`) }
  if (!force && existsSync(paths.certFile)) {
    refuseOtherKind(paths.certFile, request)
    if (await isGood(authority, paths, request, now)) return { commonName, ...paths, issued: false }
  }

  const keys = await generateKeys(request.key ?? 'ecdsa')
  const certificate = await signCertificate(authority, keys.publicKey, request)
  // The key first: a crash in between leaves a pair that does not match, which the next call replaces.
  await writeWhole(paths.keyFile, keyPem(keys.privateKey), secretMode)
  await writeWhole(paths.certFile, `${certificate.toString('pem')}\n`, publicMode)
  return { commonName, ...paths, issued: true }
}

/** On record, and in no file yet. @throws TidegateError CERTS_AUTHORITY_ENDS, CERTS_FOLDER */
export async function signCertificate(
  authority: Authority,
  publicKey: x509.PublicKeyType,
  request: Issue,
): Promise<x509.X509Certificate> {
  const { commonName, kind, days = 825, now = new Date() } = request
  const serial = serialNumber(request.randomBytes)
  const notAfter = lastDay(authority, now, days)
  await register(authority.dir, {
    serialNumber: serial,
    role: roleOf(request),
    commonName,
    issuedAt: now.toISOString(),
    notAfter: notAfter.toISOString(),
  })
  return x509.X509CertificateGenerator.create({
    subject: [{ CN: [commonName] }],
    issuer: authority.certificate.subjectName,
    publicKey,
    signingKey: authority.privateKey,
    serialNumber: serial,
    signingAlgorithm: authority.signingAlgorithm,
    notBefore: new Date(now.getTime() - backdatedMs),
    notAfter,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([kindOids[kind]]),
      new x509.SubjectAlternativeNameExtension(alternativeNames(request)),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(authority.certificate.publicKey),
    ],
  })
}

function alternativeNames({
  commonName,
  kind,
  role = 'device',
  dnsNames = [],
  ipAddresses = [],
}: Holder): x509.JsonGeneralNames {
  const names: x509.JsonGeneralNames = [
    ...dnsNames.map((value) => ({ type: 'dns' as const, value })),
    ...ipAddresses.map((value) => ({ type: 'ip' as const, value })),
  ]
  return kind === 'client' ? [{ type: 'url', value: `urn:tidegate:${role}:${commonName}` }, ...names] : names
}

/** @throws TidegateError CERTS_NAME */
export function refuseName(
  authority: Authority,
  { commonName, kind, dnsNames = [], ipAddresses = [], outDir }: Issue,
): void {
  const fault = nameFault()
  if (fault === undefined) return
  throw new TidegateError('CERTS_NAME', {
    message: `cannot issue a certificate for ${JSON.stringify(commonName)}: ${fault}`,
    retryable: false,
    hint: 'a name is 1 to 64 letters, digits, dots, dashes and underscores and begins with a letter or a digit; it is the identity, the MQTT topic and the file name',
  })

  function nameFault(): string | undefined {
    if (!deviceIdPattern.test(commonName)) return 'it cannot be an identity'
    if (commonName.toLowerCase() === 'ca' && resolve(outDir) === resolve(authority.dir))
      return 'its files would replace the CA itself'
    const notIp = ipAddresses.find((address) => isIP(address) === 0)
    if (notIp !== undefined) return `${JSON.stringify(notIp)} is not an IP address`
    const notDns = dnsNames.find((name) => !/^(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})$/.test(name))
    if (notDns !== undefined) return `${JSON.stringify(notDns)} is not a DNS name`
    if (kind === 'server' && dnsNames.length + ipAddresses.length === 0)
      return 'a server needs a DNS name or an IP address'
    return undefined
  }
}

/** Never turns a listener's certificate into a client's behind its back, or a device's into a gateway's. @throws TidegateError CERTS_TAKEN */
export function refuseOtherKind(certFile: string, { kind, role = 'device' }: Holder): void {
  const present = readable(certFile)
  if (present === undefined) return
  const sameKind = present.keyUsage?.includes(kindOids[kind]) ?? false
  const sameRole = kind === 'server' || (present.subjectAltName ?? '').includes(`urn:tidegate:${role}:`)
  if (sameKind && sameRole) return
  throw new TidegateError('CERTS_TAKEN', {
    message: `${certFile} is already another kind of certificate, not a ${kind === 'server' ? 'server' : role} one`,
    retryable: false,
    hint: 'choose another name or folder, or replace it with --force',
  })
}

function readable(certFile: string): ReturnType<typeof readCertificates>['certificates'][0] | undefined {
  try {
    return readCertificates(certFile, 'certificates').certificates[0]
  } catch {
    return undefined
  }
}

async function isGood(
  authority: Authority,
  paths: { certFile: string; keyFile: string },
  request: CertificateRequest,
  now: Date,
): Promise<boolean> {
  try {
    loadTlsFiles({ ...paths, caFile: authority.certFile, where: 'certificates', now })
    return await isKept(authority, paths.certFile, request, now)
  } catch {
    // Whatever is wrong with what is there, issuing anew is the cure.
    return false
  }
}

/**
 * Whether a certificate that is there is what would be issued, but for its key: of this authority, for the same names, not revoked, and good for more
 * than 30 days. False for what cannot be read.
 */
export async function isKept(
  authority: Authority,
  certFile: string,
  holder: Holder,
  now: Date,
): Promise<boolean> {
  try {
    const certificate = new x509.X509Certificate(await readFile(certFile, 'utf8'))
    const { publicKey } = authority.certificate
    const present = certificate.getExtension(x509.SubjectAlternativeNameExtension)
    const daysLeft = Math.floor((certificate.notAfter.getTime() - now.getTime()) / dayMs)
    if (daysLeft <= renewBeforeDays || present?.toString('hex') !== encoded(alternativeNames(holder)))
      return false
    if (!(await certificate.verify({ publicKey, signatureOnly: true }))) return false
    return !(await revokedSerials(authority)).has(certificate.serialNumber)
  } catch {
    return false
  }
}

function encoded(names: x509.JsonGeneralNames): string {
  return new x509.SubjectAlternativeNameExtension(names).toString('hex')
}

function lastDay(authority: Authority, now: Date, days: number): Date {
  const wanted = new Date(now.getTime() + days * dayMs)
  const { notAfter } = authority.certificate
  const left = (notAfter.getTime() - now.getTime()) / dayMs
  if (left > renewBeforeDays) return wanted < notAfter ? wanted : notAfter
  throw new TidegateError('CERTS_AUTHORITY_ENDS', {
    message: `the CA in ${authority.dir} ends on ${notAfter.toISOString()}, too soon to issue from it`,
    retryable: false,
    hint: 'make a new CA in an empty folder, and let both be trusted (a CA file may hold several) until every certificate was issued again',
  })
}
