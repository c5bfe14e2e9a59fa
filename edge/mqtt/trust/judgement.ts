import { type TlsFiles } from '../../../src/tls-files.ts'
import type { Authorities, Credential } from './credential.ts'
import type { Denied } from './denied.ts'
import type { RevocationLists } from './revocation-lists.ts'

/** What the entrance goes by. */
export interface TrustInForce {
  tls: TlsFiles
  authorities: Authorities
  /** Undefined: there is no `mqtt.tls.crl`. */
  lists: RevocationLists | undefined
  denied: Denied
}

/** Of a list beyond its `nextUpdate`: go by it all the same, or let nobody in whom it is about. */
export type StalePolicy = 'accept' | 'refuse'

/** Why a device that has been let in has to go; all of them are reasons not to let it in, too. */
export const standingFaults = ['denied', 'revoked-certificate', 'expired-certificate', 'unknown-ca'] as const

export type StandingFault = (typeof standingFaults)[number]

export interface Fault<Reason> {
  reason: Reason
  detail: string
}

/** What there is against a device that is connected. */
export function faultOf(
  { deviceId, links, authorities, notAfterMs }: Credential,
  trust: Pick<TrustInForce, 'authorities' | 'lists' | 'denied'>,
  nowMs: number,
): Fault<StandingFault> | undefined {
  if (trust.denied.devices.has(deviceId))
    return { reason: 'denied', detail: 'the device is named in mqtt.tls.denied' }
  const denied = links.find(({ serial }) => trust.denied.serials.has(serial))
  if (denied)
    return { reason: 'denied', detail: `the serial number ${denied.serial} is named in mqtt.tls.denied` }
  const revoked = links.find((link) => trust.lists?.has(link))
  if (revoked)
    return {
      reason: 'revoked-certificate',
      detail: `the serial number ${revoked.serial} is on a list of mqtt.tls.crl`,
    }
  if (authorities.some((key) => !trust.authorities.has(key)))
    return { reason: 'unknown-ca', detail: 'the CA of its certificate is no longer in mqtt.tls.ca' }
  const endMs = Math.min(notAfterMs, endOfAuthorities(authorities, trust.authorities))
  if (nowMs > endMs)
    return {
      reason: 'expired-certificate',
      detail: `its certificate, or the CA's, ended on ${new Date(endMs).toISOString()}`,
    }
  return undefined
}

/** What there is against a device that is about to be let in. */
export function entryFaultOf(
  credential: Credential,
  trust: Pick<TrustInForce, 'authorities' | 'lists' | 'denied'>,
  { nowMs, stale }: { nowMs: number; stale: StalePolicy },
): Fault<StandingFault | 'stale-crl'> | undefined {
  const fault = faultOf(credential, trust, nowMs)
  if (fault || stale === 'accept') return fault
  if (!credential.links.some(({ issuer }) => trust.lists?.isStale(issuer, nowMs))) return undefined
  return {
    reason: 'stale-crl',
    detail: 'the list of its CA in mqtt.tls.crl should have been replaced by now',
  }
}

/** When the certificate of a device ends, or that of its CA. */
export function endOf({ authorities, notAfterMs }: Credential, known: Authorities): number {
  return Math.min(notAfterMs, endOfAuthorities(authorities, known))
}

function endOfAuthorities(keys: readonly string[], known: Authorities): number {
  return Math.min(...keys.map((key) => known.get(key)?.notAfterMs ?? Infinity))
}
