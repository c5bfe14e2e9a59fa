import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto'
import { statSync } from 'node:fs'
import { messageOf, TidegateError } from './errors.ts'
import { type Certificates, contentsOf, corrupt, readCertificates, readPem } from './pem-files.ts'

const dayMs = 86_400_000
/** Written by group, anything by others. Read by group is a sound set-up (root:tidegate 0640). */
const tooOpen = 0o027
const chainLengthMax = 8
/** A certificate with fewer days left is to be renewed. */
export const renewDays = 30

/** What a certificate may be used for (RFC 5280, 4.2.1.12). */
export type CertificateKind = 'server' | 'client'
export const kindOids: Readonly<Record<CertificateKind, string>> = {
  server: '1.3.6.1.5.5.7.3.1',
  client: '1.3.6.1.5.5.7.3.2',
}

export interface KeyPairPaths {
  /** PEM: the certificate, followed by its intermediates if there are any. */
  certFile: string
  /** PEM: the unencrypted private key. */
  keyFile: string
  /** Who needs the files, as the first words of every message: `the MQTT listener (mqtt.tls)`. */
  where: string
  /** Refuse a certificate made for the other side of a connection. */
  kind?: CertificateKind
  /** The time to judge validity by; default the wall clock. */
  now?: Date
}

export interface KeyPair {
  cert: Buffer
  key: Buffer
  commonName: string
  /** Who signed it: `CN=…` on one line. */
  issuer: string
  notAfter: Date
  /** Whole days until `notAfter`, rounded down. */
  daysLeft: number
  /** What works but should be put right; the caller logs it. */
  warnings: string[]
}

export interface TlsFiles extends KeyPair {
  ca: Buffer
}

/** Whom an endpoint trusts. */
export interface TrustedCas {
  caFile: string
  ca: Buffer
  certificates: Certificates
  /** What works but should be put right; the caller logs it. */
  warnings: string[]
}

/**
 * The three files of a mutual TLS endpoint, read and proven to belong together before a socket is opened, so that
 * a wrong file is one clear sentence at start and not a handshake failure later. `caFile` may hold several CAs.
 * @throws TidegateError TLS_FILE_MISSING, TLS_FILE_UNREADABLE, TLS_FILE_CORRUPT, TLS_KEY_MISMATCH, TLS_WRONG_KIND,
 * TLS_EXPIRED, TLS_NOT_YET_VALID, TLS_WRONG_CA
 */
export function loadTlsFiles(paths: KeyPairPaths & { caFile: string }): TlsFiles {
  const pair = readKeyPair(paths)
  const cas = loadCas(paths.caFile, paths.where)
  const { warnings, ...proven } = provenPair(pair, paths, cas)
  return { ca: cas.ca, ...proven, warnings: [...warnings, ...cas.warnings] }
}

/** The CAs of a PEM file, valid or not. Throws TLS_FILE_*. */
export function loadCas(caFile: string, where: string): TrustedCas {
  const { pem, certificates } = readCertificates(caFile, where)
  const loose = certificates.filter((one) => !followUp(one, certificates).root)
  const warnings = loose.map(
    (one) =>
      `${caFile} holds ${oneLine(one.subject)}, an intermediate CA, without its root: what it issued is not trusted`,
  )
  return { caFile, ca: pem, certificates, warnings }
}

/** A certificate and its key, proven to come from one of the CAs. Throws as `loadTlsFiles` does. */
export function loadPairOf(cas: TrustedCas, paths: KeyPairPaths): KeyPair {
  return provenPair(readKeyPair(paths), paths, cas)
}

function provenPair(
  { certificates, ...pair }: ReturnType<typeof readKeyPair>,
  { certFile, where, now = new Date() }: KeyPairPaths,
  { caFile, certificates: authorities }: TrustedCas,
): KeyPair {
  const files = { certFile, caFile, where }
  const { chain, root } = followUp(findSigner(certificates, authorities, { ...files, now }), authorities, now)
  for (const certificate of chain) refuseOutsideValidity(certificate, caFile, where, now)
  if (!root) throw rootMissing(chain, files)
  return pair
}

/** A certificate and its key, proven to belong together and to be valid now. Throws as `loadTlsFiles` does. */
export function loadKeyPair(paths: KeyPairPaths): KeyPair {
  const { certificates: _, ...pair } = readKeyPair(paths)
  return pair
}

function readKeyPair(paths: KeyPairPaths): KeyPair & { certificates: Certificates } {
  const { certFile, keyFile, where, kind, now = new Date() } = paths
  const { pem: cert, certificates } = readCertificates(certFile, where)
  const [leaf] = certificates
  const key = readPem(keyFile, where)
  if (!leaf.checkPrivateKey(parseKey(key, keyFile, where))) {
    throw new TidegateError('TLS_KEY_MISMATCH', {
      message: `${where}: the key ${keyFile} does not belong to the certificate ${certFile}`,
      retryable: false,
      hint: 'the two files come from different issues; copy both again from where they were issued, or issue them anew',
    })
  }
  if (kind !== undefined && leaf.keyUsage !== undefined && !leaf.keyUsage.includes(kindOids[kind])) {
    throw new TidegateError('TLS_WRONG_KIND', {
      message: `${where} needs a ${kind} certificate, and ${certFile} was not issued as one`,
      retryable: false,
      hint: `\`tidegate certs inspect ${certFile}\` shows what it was issued for`,
    })
  }
  for (const certificate of certificates) refuseOutsideValidity(certificate, certFile, where, now)
  return { cert, key, certificates, warnings: warnAboutMode(keyFile), ...describe(leaf, now) }
}

/** The parts of a certificate that both a start-up check and a report show. */
export function describe(
  certificate: X509Certificate,
  now: Date,
): Pick<KeyPair, 'commonName' | 'issuer' | 'notAfter' | 'daysLeft'> {
  const notAfter = new Date(certificate.validTo)
  const commonName = /^CN=(.*)$/m.exec(certificate.subject)?.[1] ?? ''
  const issuer = certificate.issuer.replaceAll('\n', ', ')
  return { commonName, issuer, notAfter, daysLeft: Math.floor((notAfter.getTime() - now.getTime()) / dayMs) }
}

/** A private key alone, without a certificate. Throws TLS_FILE_*. */
export function loadPrivateKey(file: string, where: string): KeyObject {
  return parseKey(readPem(file, where), file, where)
}

function parseKey(pem: Buffer, file: string, where: string): KeyObject {
  const contents = contentsOf(pem)
  if (contents === 'an encrypted private key')
    throw corrupt(file, where, 'its private key is encrypted, and nobody is there to type the passphrase')
  if (contents !== 'a private key')
    throw corrupt(file, where, `a private key in PEM was expected and it holds ${contents}`)
  try {
    return createPrivateKey(pem)
  } catch (error) {
    throw corrupt(file, where, 'its private key is damaged', error)
  }
}

/** @throws TidegateError `TLS_EXPIRED` | `TLS_NOT_YET_VALID` */
export function refuseOutsideValidity(
  certificate: X509Certificate,
  file: string,
  where: string,
  now: Date,
): void {
  if (now > new Date(certificate.validTo)) {
    throw new TidegateError('TLS_EXPIRED', {
      message: `${where}: the certificate ${file} expired on ${certificate.validTo} and it is ${now.toISOString()}`,
      retryable: false,
      hint: 'issue it again (`tidegate certs … --force`), or put the clock of this machine right',
    })
  }
  if (now < new Date(certificate.validFrom)) {
    // Retryable: the usual cause is a clock that has not been set yet (a boot in 1970).
    throw new TidegateError('TLS_NOT_YET_VALID', {
      message: `${where}: the certificate ${file} is valid from ${certificate.validFrom} and it is ${now.toISOString()}`,
      retryable: true,
      hint: 'the clock of this machine is probably wrong; wait until it is set, or put it right',
    })
  }
}

/** The CA the chain ends in; a certificate of the right issuer with a wrong signature is damaged, not foreign. */
function findSigner(
  [leaf, ...intermediates]: Certificates,
  authorities: Certificates,
  { certFile, caFile, where, now }: { certFile: string; caFile: string; where: string; now: Date },
): X509Certificate {
  let current = leaf
  for (let length = 0; length < chainLengthMax; length += 1) {
    const issuer = issuerOf(current, [...authorities, ...intermediates], now)
    if (issuer === undefined) break
    if (!current.verify(issuer.publicKey))
      throw corrupt(certFile, where, `its signature is not that of its issuer in ${caFile}`)
    if (authorities.includes(issuer)) return issuer
    current = issuer
  }
  throw new TidegateError('TLS_WRONG_CA', {
    message: `${where}: the certificate ${certFile} was not signed by the CA in ${caFile}`,
    retryable: false,
    hint: `it was issued by ${oneLine(current.issuer)}, and the CA file holds ${authorities.map((ca) => oneLine(ca.subject)).join(' and ')}; CAs of one name still differ in their keys`,
  })
}

/** From a CA up, as far as its file goes. TLS trusts nothing before it has come to a self-signed root there. */
function followUp(
  signer: X509Certificate,
  authorities: Certificates,
  now?: Date,
): { chain: X509Certificate[]; root: X509Certificate | undefined } {
  const chain = [signer]
  let current = signer
  while (!current.checkIssued(current)) {
    const issuer = issuerOf(current, authorities, now)
    if (issuer === undefined || !current.verify(issuer.publicKey) || chain.length > chainLengthMax)
      return { chain, root: undefined }
    chain.push(issuer)
    current = issuer
  }
  return { chain, root: current }
}

/** Of several of one name the one that has signed it and is valid now: a CA that was renewed may stand beside what it was before. */
function issuerOf(
  certificate: X509Certificate,
  candidates: readonly X509Certificate[],
  now?: Date,
): X509Certificate | undefined {
  const named = candidates.filter((candidate) => certificate.checkIssued(candidate))
  const signers = named.filter((candidate) => certificate.verify(candidate.publicKey))
  const valid = signers.find(
    ({ validFrom, validTo }) => !now || (new Date(validFrom) <= now && now <= new Date(validTo)),
  )
  return valid ?? signers[0] ?? named[0]
}

function rootMissing(
  chain: X509Certificate[],
  { certFile, caFile, where }: { certFile: string; caFile: string; where: string },
): TidegateError {
  const last = chain.at(-1) as X509Certificate
  return new TidegateError('TLS_WRONG_CA', {
    message: `${where}: the CA in ${caFile} that ${certFile} comes from, ${oneLine(last.subject)}, is an intermediate, and its root is not in the file`,
    retryable: false,
    hint: `add the root, ${oneLine(last.issuer)}, to ${caFile}: without it TLS refuses everybody`,
  })
}

function warnAboutMode(keyFile: string): string[] {
  const mode = statSync(keyFile).mode & 0o777
  return mode & tooOpen
    ? [
        `the private key ${keyFile} is open to other users of this machine (mode 0${mode.toString(8)}); chmod 600 it`,
      ]
    : []
}

function oneLine(name: string): string {
  return `"${name.replaceAll('\n', ', ')}"`
}

/** What Node reads OpenSSL may still refuse, and it would do so in the middle of a handshake. @throws TidegateError TLS_UNUSABLE for whatever `look` throws */
export function usable<T>(where: string, look: () => T): T {
  try {
    return look()
  } catch (cause) {
    throw new TidegateError('TLS_UNUSABLE', {
      message: `${where}: OpenSSL does not take the files (${messageOf(cause)})`,
      retryable: false,
      hint: 'most often a key is too short, or a signature too old: ECDSA P-256 or RSA of 2048 bits, and SHA-256',
      cause,
    })
  }
}
