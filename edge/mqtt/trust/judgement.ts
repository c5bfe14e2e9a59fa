import type { KeyPair, TrustedCas } from '../../../src/tls-files.ts'
import type { Users } from '../../users/users-file.ts'
import type { Authorities, Credential, Link, PasswordCredential, Step } from './credential.ts'
import type { Denied } from '../../../src/contract/denied.ts'
import type { PublishedInForce } from './published.ts'
import type { RevocationLists } from './revocation-lists.ts'
import { wayUp } from './way-up.ts'

/** The CAs of `mqtt.tls.ca`: their file, and who of them has signed whom. */
export type EntranceCas = TrustedCas & { authorities: Authorities }

/** What the entrance goes by. */
export interface TrustInForce {
  cas: EntranceCas
  /** What the listener shows. */
  pair: KeyPair
  /** Undefined: there is no `mqtt.tls.crl`. */
  lists: RevocationLists | undefined
  denied: Denied
  /** What came down with the uplink; whoever is out by either is out. Undefined: nothing has. */
  published?: PublishedInForce | undefined
  /** Something has come down before, and nobody can tell what. */
  publishedUnread?: boolean | undefined
  /** Undefined: there is no `mqtt.users`. */
  users?: Users | undefined
}

type AgainstDevices = Pick<
  TrustInForce,
  'cas' | 'lists' | 'denied' | 'published' | 'publishedUnread' | 'users'
>

/** Of a list beyond its `nextUpdate`: go by it all the same, or let nobody in whom it is about. */
export type StalePolicy = 'accept' | 'refuse'

/** Why a device that has been let in has to go; all of them are reasons not to let it in, too. */
export const standingFaults = [
  'denied',
  'revoked-certificate',
  'expired-certificate',
  'unknown-ca',
  'password-withdrawn',
] as const

export type StandingFault = (typeof standingFaults)[number]

export interface Fault<Reason> {
  reason: Reason
  detail: string
}

/** What there is against a device that is connected. */
export function faultOf(
  credential: Credential | PasswordCredential,
  trust: AgainstDevices,
  nowMs: number,
): Fault<StandingFault> | undefined {
  const { deviceId } = credential
  const { published } = trust
  if (trust.denied.devices.has(deviceId))
    return { reason: 'denied', detail: 'the device is named in mqtt.tls.denied' }
  if (published?.denied.devices.has(deviceId))
    return { reason: 'denied', detail: `the device is named in ${nameOf(published)}` }
  if ('leaf' in credential) return certificateFaultOf(credential, trust, nowMs)
  if (trust.users?.get(deviceId) === credential.passwordHash) return undefined
  return { reason: 'password-withdrawn', detail: 'its password is not the one in mqtt.users any more' }
}

function certificateFaultOf(
  credential: Credential,
  trust: AgainstDevices,
  nowMs: number,
): Fault<StandingFault> | undefined {
  const { leaf } = credential
  const { published } = trust
  const { steps, isRooted } = wayUp(credential, trust.cas.authorities, validAt(nowMs))
  const denied = steps.find(({ serial }) => trust.denied.serials.has(serial))
  if (denied)
    return { reason: 'denied', detail: `the serial number ${denied.serial} is named in mqtt.tls.denied` }
  const alsoDenied = steps.find(({ serial }) => published?.denied.serials.has(serial))
  if (published && alsoDenied)
    return {
      reason: 'denied',
      detail: `the serial number ${alsoDenied.serial} is named in ${nameOf(published)}`,
    }
  const revoked = steps.flatMap(linksOf).find((link) => trust.lists?.has(link))
  if (revoked)
    return {
      reason: 'revoked-certificate',
      detail: `the serial number ${revoked.serial} is on a list of mqtt.tls.crl`,
    }
  const alsoRevoked = steps.flatMap(linksOf).find((link) => published?.lists?.has(link))
  if (published && alsoRevoked)
    return {
      reason: 'revoked-certificate',
      detail: `the serial number ${alsoRevoked.serial} is on a list of ${nameOf(published)}`,
    }
  if (nowMs > leaf.notAfterMs)
    return {
      reason: 'expired-certificate',
      detail: `its certificate ended on ${new Date(leaf.notAfterMs).toISOString()}`,
    }
  if (isRooted) return undefined
  return wayUp(credential, trust.cas.authorities, () => true).isRooted
    ? { reason: 'expired-certificate', detail: 'of the CAs above its certificate one is not valid now' }
    : { reason: 'unknown-ca', detail: 'its certificate does not come from a CA of mqtt.tls.ca' }
}

/** What there is against a device that is about to be let in. */
export function entryFaultOf(
  credential: Credential | PasswordCredential,
  trust: AgainstDevices,
  { nowMs, stale }: { nowMs: number; stale: StalePolicy },
): Fault<StandingFault | 'stale-crl'> | undefined {
  const fault = faultOf(credential, trust, nowMs)
  if (fault || stale === 'accept' || !('leaf' in credential)) return fault
  const links = wayUp(credential, trust.cas.authorities, validAt(nowMs)).steps.flatMap(linksOf)
  // A list of either kind that counts is enough.
  const lists = [trust.lists, trust.published?.lists].filter((one) => one !== undefined)
  const isStale = (issuer: string): boolean => lists.every((one) => one.isStale(issuer, nowMs))
  if ((lists.length === 0 && !trust.publishedUnread) || !links.some(({ issuer }) => isStale(issuer)))
    return undefined
  return {
    reason: 'stale-crl',
    detail:
      'the list of its CA, in mqtt.tls.crl or published, is not there, cannot be read, or should have been replaced by now',
  }
}

/** Until when time alone brings up nothing against a device: the first end of a certificate on its way up. */
export function endOf(
  credential: Credential | PasswordCredential,
  authorities: Authorities,
  nowMs: number,
): number {
  if (!('leaf' in credential)) return Infinity
  const { steps } = wayUp(credential, authorities, validAt(nowMs))
  return Math.min(...steps.map(({ notAfterMs }) => notAfterMs))
}

function validAt(nowMs: number): (step: Step) => boolean {
  return ({ notBeforeMs, notAfterMs }) => notBeforeMs <= nowMs && nowMs <= notAfterMs
}

function nameOf({ number }: PublishedInForce): string {
  return `the published lists ${number}`
}

function linksOf({ issuers, serial }: Step): Link[] {
  return issuers.map((issuer) => ({ issuer, serial }))
}
