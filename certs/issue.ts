import { webcrypto } from 'node:crypto'
import { existsSync } from 'node:fs'
import { isIP } from 'node:net'
import { join, resolve } from 'node:path'
import * as x509 from '@peculiar/x509'
import { TidegateError } from '../src/errors.ts'
import { deviceIdPattern } from '../src/contract/event.ts'
import { readCertificates } from '../src/pem-files.ts'
import { kindOids, loadTlsFiles, type CertificateKind } from '../src/tls-files.ts'
import {
  backdatedMs,
  dayMs,
  keyAlgorithm,
  keyPem,
  serialNumber,
  signingAlgorithm,
  type Authority,
  type Surroundings,
} from './authority.ts'
import { publicMode, secretMode, writeWhole } from './pem-files.ts'
import { isRevoked } from './revoke.ts'

/** A certificate with fewer days left is issued anew rather than kept. */
const renewBeforeDays = 30

/** Who a client certificate speaks for; written into it as `urn:tidegate:<role>:<name>`. */
type Role = 'device' | 'gateway' | 'cloud'

export interface CertificateRequest extends Surroundings {
  /** Becomes the subject CN and the file's name; for a device it is the device ID. */
  commonName: string
  kind: CertificateKind
  /** For client certificates; default `device`. */
  role?: Role
  dnsNames?: readonly string[]
  ipAddresses?: readonly string[]
  /** Default 825; never beyond the CA's own end. */
  days?: number
  outDir: string
  /** Issue anew even if a good certificate is there. */
  force?: boolean
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
  const names = alternativeNames(request)
  if (!force && existsSync(paths.certFile)) {
    refuseOtherKind(paths.certFile, request)
    if (await isGood(authority, paths, names, now)) return { commonName, ...paths, issued: false }
  }

  const keys = await webcrypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify'])
  const certificate = await x509.X509CertificateGenerator.create({
    subject: [{ CN: [commonName] }],
    issuer: authority.certificate.subjectName,
    publicKey: keys.publicKey,
    signingKey: authority.privateKey,
    serialNumber: serialNumber(request.randomBytes),
    signingAlgorithm,
    notBefore: new Date(now.getTime() - backdatedMs),
    notAfter: lastDay(authority, now, request.days ?? 825),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([kindOids[request.kind]]),
      new x509.SubjectAlternativeNameExtension(names),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(authority.certificate.publicKey),
    ],
  })
  // The key first: a crash in between leaves a pair that does not match, which the next call replaces.
  await writeWhole(paths.keyFile, keyPem(keys.privateKey), secretMode)
  await writeWhole(paths.certFile, `${certificate.toString('pem')}\n`, publicMode)
  return { commonName, ...paths, issued: true }
}

function alternativeNames({
  commonName,
  kind,
  role = 'device',
  dnsNames = [],
  ipAddresses = [],
}: CertificateRequest): x509.JsonGeneralNames {
  const names: x509.JsonGeneralNames = [
    ...dnsNames.map((value) => ({ type: 'dns' as const, value })),
    ...ipAddresses.map((value) => ({ type: 'ip' as const, value })),
  ]
  return kind === 'client' ? [{ type: 'url', value: `urn:tidegate:${role}:${commonName}` }, ...names] : names
}

function refuseName(
  authority: Authority,
  { commonName, kind, dnsNames = [], ipAddresses = [], outDir }: CertificateRequest,
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

/** Never turns a listener's certificate into a client's behind its back, or a device's into a gateway's. */
function refuseOtherKind(certFile: string, { kind, role = 'device' }: CertificateRequest): void {
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
  names: x509.JsonGeneralNames,
  now: Date,
): Promise<boolean> {
  try {
    const { cert, daysLeft } = loadTlsFiles({
      ...paths,
      caFile: authority.certFile,
      where: 'certificates',
      now,
    })
    const present = new x509.X509Certificate(cert).getExtension(x509.SubjectAlternativeNameExtension)
    if (daysLeft <= renewBeforeDays || present?.toString('hex') !== encoded(names)) return false
    return !(await isRevoked(authority, paths.certFile))
  } catch {
    // Whatever is wrong with what is there, issuing anew is the cure.
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
