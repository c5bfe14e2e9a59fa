import { createHash, X509Certificate } from 'node:crypto'

/** A CA of `mqtt.tls.ca`. */
export interface Authority {
  certificate: X509Certificate
  notAfterMs: number
  /** TLS trusts what comes from a root, and an intermediate only for its root. */
  isRoot: boolean
}

/** CAs by their keys: one that was renewed with its key is the same, one of the same name with another key is not. */
export type Authorities = ReadonlyMap<string, Authority>

/** A certificate as a revocation list names it: who signed it, and its number there. */
export interface Link {
  issuer: string
  serial: string
}

/** What a device has shown, as far as it must be looked at again while it is connected. */
export interface Credential {
  deviceId: string
  /** Its certificate, then those of the intermediates above it. */
  links: readonly Link[]
  /** Those CAs of `mqtt.tls.ca` without which it would not have been let in. */
  authorities: readonly string[]
  /** When the first of the certificates that it has sent ends. */
  notAfterMs: number
}

const linksMax = 8

export function authoritiesOf(certificates: readonly X509Certificate[]): Authorities {
  const authorities = new Map<string, Authority>()
  for (const certificate of certificates) {
    const key = keyOf(certificate)
    const notAfterMs = Date.parse(certificate.validTo)
    const known = authorities.get(key)
    if (known !== undefined && known.notAfterMs >= notAfterMs) continue
    authorities.set(key, { certificate, notAfterMs, isRoot: isIssued(certificate, certificate) })
  }
  return authorities
}

/**
 * The way from a certificate, with the intermediates that came with it, up to a root of ours; undefined if there is none. It says
 * nothing about validity, purpose and extensions: TLS has.
 */
export function credentialOf(
  leaf: X509Certificate,
  deviceId: string,
  authorities: Authorities,
): Credential | undefined {
  const sent = sentWith(leaf)
  const links: Link[] = []
  const used: string[] = []
  let notAfterMs = Date.parse(leaf.validTo)
  let current = leaf
  while (links.length < linksMax) {
    const serial = plainSerial(current.serialNumber)
    const own = [...authorities].find(([, { certificate }]) => isIssued(current, certificate))
    if (own !== undefined) {
      const [issuer, { certificate, isRoot }] = own
      links.push({ issuer, serial })
      used.push(issuer)
      if (isRoot) return { deviceId, links, authorities: used, notAfterMs }
      current = certificate
      continue
    }
    const issuer = sent.find((candidate) => isIssued(current, candidate))
    if (issuer === undefined) return undefined
    links.push({ issuer: keyOf(issuer), serial })
    notAfterMs = Math.min(notAfterMs, Date.parse(issuer.validTo))
    current = issuer
  }
  return undefined
}

/** A serial number in one spelling: capital hex digits without leading zeros. */
export function plainSerial(hex: string): string {
  return hex.replace(/^0+(?=.)/, '').toUpperCase()
}

function isIssued(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)
}

function sentWith(leaf: X509Certificate): X509Certificate[] {
  const sent: X509Certificate[] = []
  let next = leaf.issuerCertificate
  while (next !== undefined && sent.length < linksMax) {
    sent.push(next)
    next = next.issuerCertificate
  }
  return sent
}

function keyOf({ publicKey }: X509Certificate): string {
  return createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('base64')
}
