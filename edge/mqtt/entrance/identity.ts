import type { PeerCertificate } from 'node:tls'
import { deviceIdPattern } from '../../../src/contract/event.ts'

/** Why a connection was refused; the values of the metric's `reason`. */
export const connectionRefusals = [
  'no-certificate',
  'unknown-ca',
  'expired-certificate',
  'not-yet-valid-certificate',
  'revoked-certificate',
  'denied',
  'stale-crl',
  'wrong-purpose',
  'no-password',
  'wrong-password',
  'password-rate',
  'password-withdrawn',
  'no-connect',
  'websocket',
  'bad-identity',
  'tls-version',
  'not-tls',
  'handshake-timeout',
  'handshake-failed',
  'handshake-displaced',
  'handshakes-max',
  'connections-max',
  'connections-per-device-max',
  'connects-rate',
  'client-id',
  'will-topic',
  'protocol-version',
] as const

export type ConnectionRefusal = (typeof connectionRefusals)[number]

export type Identity =
  { ok: true; deviceId: string } | { ok: false; reason: ConnectionRefusal; detail: string }

type Certificate = Pick<PeerCertificate, 'subject' | 'subjectaltname'> &
  Partial<Pick<PeerCertificate, 'ca' | 'modulus' | 'bits'>>

/**
 * A device is who its certificate says, if TLS has accepted that: `verification` is undefined then, else what OpenSSL has
 * against it. The common name is the device ID. A certificate that names another role or another device as well
 * (`urn:tidegate:gateway:…`, see certs/) is no device's, nor is one of a CA or with a weak key.
 */
export function identify(certificate: Certificate | undefined, verification?: string): Identity {
  // Node gives an empty object when there is no certificate, and a list when a name has several CNs.
  const name: unknown = certificate?.subject?.CN
  if (certificate?.subject === undefined)
    return { ok: false, reason: 'no-certificate', detail: 'the client showed no certificate' }
  if (verification !== undefined) {
    const reason = byVerification[verification] ?? 'handshake-failed'
    return { ok: false, reason, detail: `certificate not accepted: ${verification}` }
  }
  if (typeof name !== 'string' || !deviceIdPattern.test(name)) {
    const shown = JSON.stringify(name ?? null).slice(0, 100)
    return { ok: false, reason: 'bad-identity', detail: `the common name ${shown} is not a device ID` }
  }
  const fault = faultOf(certificate, name)
  return fault === undefined
    ? { ok: true, deviceId: name }
    : { ok: false, reason: 'bad-identity', detail: `the certificate of ${name} ${fault}` }
}

/** What is wrong with a certificate that TLS has accepted as a client's. */
function faultOf({ subjectaltname, ca, modulus, bits = 0 }: Certificate, name: string): string | undefined {
  // Every name in it counts, in whatever case: a URN's are alike.
  const urns = (subjectaltname ?? '').match(/urn:tidegate:[^,"\s]*/gi) ?? []
  const other = urns.find((urn) => urn.toLowerCase() !== `urn:tidegate:device:${name.toLowerCase()}`)
  if (other !== undefined) return `says ${other.slice(0, 100)}, which is not that device`
  if (ca === true) return `is a CA's, which could issue others`
  if (modulus !== undefined && bits < rsaBitsMin)
    return `has an RSA key of ${bits} bits, and ${rsaBitsMin} are the least`
  return undefined
}

const rsaBitsMin = 2048

/**
 * The name in a certificate that is not accepted, to find out whose it is. Nothing vouches for it: it is cut, and what is no
 * printable character is escaped.
 */
export function claimedName(certificate: Certificate | undefined): string | undefined {
  const name: unknown = certificate?.subject?.CN
  return typeof name === 'string' ? legible(name) : undefined
}

/** A name that nothing vouches for, as it may be told. */
export function legible(name: string): string {
  return name
    .slice(0, 64)
    .replace(/[^\u0020-\u007e]/g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** The same, as a part of what is told of a refusal. */
export function claimOf(certificate: Certificate | undefined): { claimed?: string } {
  const claimed = claimedName(certificate)
  return claimed === undefined ? {} : { claimed }
}

const byVerification: Readonly<Record<string, ConnectionRefusal>> = {
  UNABLE_TO_GET_ISSUER_CERT: 'unknown-ca',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'unknown-ca',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'unknown-ca',
  SELF_SIGNED_CERT_IN_CHAIN: 'unknown-ca',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'unknown-ca',
  CERT_SIGNATURE_FAILURE: 'unknown-ca',
  CERT_UNTRUSTED: 'unknown-ca',
  INVALID_CA: 'unknown-ca',
  CERT_HAS_EXPIRED: 'expired-certificate',
  CERT_NOT_YET_VALID: 'not-yet-valid-certificate',
  CERT_REVOKED: 'revoked-certificate',
  INVALID_PURPOSE: 'wrong-purpose',
}

const byHandshake: Readonly<Record<string, ConnectionRefusal>> = {
  ERR_SSL_UNSUPPORTED_PROTOCOL: 'tls-version',
  ERR_SSL_VERSION_TOO_LOW: 'tls-version',
  ERR_SSL_WRONG_VERSION_NUMBER: 'not-tls',
  ERR_SSL_HTTP_REQUEST: 'not-tls',
  ERR_TLS_HANDSHAKE_TIMEOUT: 'handshake-timeout',
}

/** Why a handshake failed, by Node's code of its error. */
export function handshakeRefusal(code: string): ConnectionRefusal {
  return byHandshake[code] ?? 'handshake-failed'
}

/** OpenSSL's errors come as `<thread>:error:<number>:<library>:<function>:<reason>:<file>:<line>:`. */
export function opensslReason(detail: string): string {
  return /error:[0-9A-F]+:[^:]*:[^:]*:([^:]+):/.exec(detail)?.[1] ?? detail.trim()
}
