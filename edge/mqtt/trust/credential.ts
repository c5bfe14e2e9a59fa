import { createHash, X509Certificate } from 'node:crypto'
import { plainSerial } from '../../../src/contract/serial.ts'

/** A certificate on the way up from a device, as far as it must be looked at again. */
export interface Step {
  /** Its subject and key: of a signature one knows no more than these. Several certificates may have them alike. */
  identity: string
  serial: string
  notBeforeMs: number
  notAfterMs: number
  /** Identities that have signed it; of a root, itself. */
  issuers: readonly string[]
  /** A root of `mqtt.tls.ca`: TLS trusts what comes from one, and an intermediate only for its root. */
  isRoot: boolean
}

/** A CA of `mqtt.tls.ca`. */
export interface Authority extends Step {
  certificate: X509Certificate
}

/** CAs by their identities: of one that was renewed with its key, or signed by several, all certificates. */
export type Authorities = ReadonlyMap<string, readonly Authority[]>

/** A certificate as a revocation list names it: who signed it, and its number there. */
export interface Link {
  issuer: string
  serial: string
}

/** What a device has shown, as far as it must be looked at again while it is connected. */
export interface Credential {
  deviceId: string
  leaf: Step
  /** The CA certificates that it has sent with its own, as far as they have to do with it. */
  sent: readonly Step[]
}

/** What a device has shown that has a password: the hash that it was held against. */
export interface PasswordCredential {
  deviceId: string
  passwordHash: string
}

/** Certificates that a device sends with its own: among more, none is looked for. */
export const sentMax = 8

/** Throws what OpenSSL throws of a key that it does not know. */
export function authoritiesOf(certificates: readonly X509Certificate[]): Authorities {
  const signers = certificates.map(signerOf)
  const authorities = new Map<string, Authority[]>()
  for (const { certificate, identity } of signers) {
    const isRoot = isIssued(certificate, certificate)
    const authority = { certificate, ...stepOf(certificate, signers), identity, isRoot }
    authorities.set(identity, [...(authorities.get(identity) ?? []), authority])
  }
  return authorities
}

/**
 * A device's certificate with what it has sent, and who of these and of our CAs has signed whom. It says nothing about validity,
 * purpose and extensions: TLS has. Never throws: what was sent and cannot be understood has signed nothing.
 */
export function credentialOf(
  { leaf, sent }: { leaf: X509Certificate; sent: readonly X509Certificate[] },
  deviceId: string,
  authorities: Authorities,
): Credential {
  const sentSigners = sent
    .filter(({ ca }) => ca)
    .flatMap((certificate) => orNone(() => signerOf(certificate)))
  const signers = [...[...authorities.values()].flat(), ...sentSigners]
  const first = stepOf(leaf, signers)
  const onTheWay: Step[] = []
  // Signatures cost: of what was sent only that is checked which has signed something on the way.
  const reached = new Set(first.issuers)
  for (const identity of reached)
    for (const one of sentSigners.filter((signer) => signer.identity === identity)) {
      const step = { ...stepOf(one.certificate, signers), identity }
      onTheWay.push(step)
      for (const issuer of step.issuers) reached.add(issuer)
    }
  return { deviceId, leaf: first, sent: onTheWay }
}

/** What a client has sent with its certificate, in its order; one more than `sentMax` at most. */
export function sentWith(leaf: X509Certificate): X509Certificate[] {
  const sent: X509Certificate[] = []
  let next = leaf.issuerCertificate
  while (next !== undefined && sent.length <= sentMax) {
    sent.push(next)
    next = next.issuerCertificate
  }
  return sent
}

interface Signer {
  certificate: X509Certificate
  identity: string
}

function signerOf(certificate: X509Certificate): Signer {
  const { publicExponent = 0n } = certificate.publicKey.asymmetricKeyDetails ?? {}
  if (publicExponent >> 32n > 0n) throw new RangeError('to check a signature with this key takes too long')
  const key = certificate.publicKey.export({ type: 'spki', format: 'der' })
  const identity = createHash('sha256').update(key).update(certificate.subject).digest('base64')
  return { certificate, identity }
}

/** A step that is no CA of ours, and that nobody is known to come from. */
function stepOf(certificate: X509Certificate, signers: readonly Signer[]): Step {
  const { serialNumber, validFrom, validTo } = certificate
  const issuers = signers.filter((signer) => isIssued(certificate, signer.certificate))
  return {
    identity: '',
    serial: plainSerial(serialNumber),
    notBeforeMs: Date.parse(validFrom),
    notAfterMs: Date.parse(validTo),
    issuers: [...new Set(issuers.map(({ identity }) => identity))],
    isRoot: false,
  }
}

function isIssued(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return orNone(() => certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey))[0] ?? false
}

/** Strangers write what they like into certificates. */
function orNone<T>(look: () => T): T[] {
  try {
    return [look()]
  } catch {
    return []
  }
}
