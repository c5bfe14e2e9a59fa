import type { X509Certificate } from 'node:crypto'
import { fingerprintOf } from '../src/contract/signature.ts'
import { readCertificates } from '../src/pem-files.ts'
import {
  describe,
  kindOids,
  loadKeyPair,
  loadTlsFiles,
  type CertificateKind,
  type KeyPair,
} from '../src/tls-files.ts'

export interface CertificateReport {
  subject: string
  commonName: string
  issuer: string
  notBefore: Date
  notAfter: Date
  /** Whole days until `notAfter`, rounded down; negative once it has expired. */
  daysLeft: number
  /** SHA-256 of the certificate, in pairs of hex digits with colons. */
  fingerprint256: string
  /** SHA-256 of the public key (SubjectPublicKeyInfo), hexadecimal: the key by which a gateway signs its ledger. */
  keyFingerprint: string
  kind: CertificateKind | 'authority' | 'unknown'
  /** DNS names, addresses and the `urn:tidegate:<role>:<name>` of a client certificate. */
  alternativeNames: string[]
}

/** What a certificate file says. Judges nothing: an expired certificate is reported, not refused. Throws TLS_FILE_*. */
export function inspectCertificate(file: string, now = new Date()): CertificateReport {
  const [certificate] = readCertificates(file, 'certificate').certificates
  return {
    subject: oneLine(certificate.subject),
    notBefore: new Date(certificate.validFrom),
    ...describe(certificate, now),
    fingerprint256: certificate.fingerprint256,
    keyFingerprint: fingerprintOf(certificate.publicKey),
    kind: kindOf(certificate),
    alternativeNames: certificate.subjectAltName?.split(', ') ?? [],
  }
}

/** Proves that the files belong together, up to the CA if one is given. Throws as `loadTlsFiles` does. */
export function checkKeyPair(certFile: string, keyFile: string, caFile?: string, now = new Date()): KeyPair {
  const paths = { certFile, keyFile, where: 'key pair', now }
  return caFile === undefined ? loadKeyPair(paths) : loadTlsFiles({ ...paths, caFile })
}

function kindOf(certificate: X509Certificate): CertificateReport['kind'] {
  if (certificate.ca) return 'authority'
  if (certificate.keyUsage?.includes(kindOids.server)) return 'server'
  return certificate.keyUsage?.includes(kindOids.client) ? 'client' : 'unknown'
}

function oneLine(name: string): string {
  return name.replaceAll('\n', ', ')
}
