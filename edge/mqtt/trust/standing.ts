import type { Clock } from '../../../src/clock.ts'
import type { Credential, PasswordCredential } from './credential.ts'
import {
  endOf,
  entryFaultOf,
  type Fault,
  faultOf,
  type StalePolicy,
  type StandingFault,
  type TrustInForce,
} from './judgement.ts'

/** Ends a connection whose device would not be let in any more. */
export class StandingLost extends Error {
  override readonly name = 'StandingLost'
  readonly reason: StandingFault

  constructor({ reason, detail }: Fault<StandingFault>) {
    super(detail)
    this.reason = reason
  }
}

/** What is needed of a socket. */
export interface Guest {
  once(event: 'close', listener: () => void): unknown
  destroy(error: Error): unknown
}

/** Those who are connected, looked at again whenever what speaks for them may have changed. */
export class Standing {
  readonly #guests = new Map<Guest, Credential | PasswordCredential>()
  readonly #trust: () => TrustInForce
  readonly #clock: Pick<Clock, 'now'>
  readonly #stale: StalePolicy
  /** When the first certificate ends of those who are connected. */
  #nextEndMs = Infinity

  constructor(parts: { trust: () => TrustInForce; stale: StalePolicy; clock: Pick<Clock, 'now'> }) {
    this.#trust = parts.trust
    this.#stale = parts.stale
    this.#clock = parts.clock
  }

  /** What there is against a device that is about to be let in, whether its TLS session is new or not. */
  faultOf(credential: Credential | PasswordCredential): Fault<StandingFault | 'stale-crl'> | undefined {
    return entryFaultOf(credential, this.#trust(), { nowMs: this.#clock.now(), stale: this.#stale })
  }

  enter(guest: Guest, credential: Credential | PasswordCredential): void {
    this.#guests.set(guest, credential)
    this.#nextEndMs = Math.min(
      this.#nextEndMs,
      endOf(credential, this.#trust().cas.authorities, this.#clock.now()),
    )
    guest.once('close', () => this.#guests.delete(guest))
  }

  /** Ends the connections of those whose certificates have ended since. */
  pass(): void {
    if (this.#clock.now() > this.#nextEndMs) this.review()
  }

  /** Ends the connections of all who would not be let in any more, and of nobody else. */
  review(): void {
    const trust = this.#trust()
    const nowMs = this.#clock.now()
    this.#nextEndMs = Infinity
    for (const [guest, credential] of this.#guests) {
      const fault = faultOf(credential, trust, nowMs)
      if (fault === undefined) {
        this.#nextEndMs = Math.min(this.#nextEndMs, endOf(credential, trust.cas.authorities, nowMs))
        continue
      }
      this.#guests.delete(guest)
      guest.destroy(new StandingLost(fault))
    }
  }
}
