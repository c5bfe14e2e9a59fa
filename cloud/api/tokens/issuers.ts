import type { Clock } from '../../../src/clock.ts'
import { messageOf } from '../../../src/errors.ts'
import type { Logger } from '../../../src/log.ts'
import { Refusal } from '../rules/problem.ts'
import type { ApiConfig } from '../rules/settings.ts'
import { createKeySet } from './key-set.ts'
import { ownLifetimeMsMax } from './mint.ts'
import type { OwnKey } from './own-key.ts'
import type { Issuer } from './verify.ts'

/** So long a token that was taken back has to be remembered at the most. */
export const providerLifetimeMsMax = 24 * 3_600_000

/** We, by our own key. */
export function ourselves({ issuer, audience }: NonNullable<ApiConfig['tokens']>, key: OwnKey): Issuer {
  return {
    issuer,
    audience,
    algorithms: ['ES256'],
    lifetimeMsMax: ownLifetimeMsMax,
    key: (kid) => (kid === key.kid ? key.publicKey : undefined),
    rolesClaim: 'roles',
    onRecord: true,
  }
}

/** Somebody's identity provider, by the keys that it publishes. */
export function identityProvider(
  { issuer, audience, algorithms, rolesClaim }: NonNullable<ApiConfig['provider']>,
  surroundings: { read: () => Promise<string>; clock: Clock; log: Logger },
): Issuer {
  const keys = createKeySet(surroundings)
  return {
    issuer,
    audience,
    algorithms,
    lifetimeMsMax: providerLifetimeMsMax,
    async key(kid, algorithm) {
      try {
        return await keys.find(kid, algorithm)
      } catch (error) {
        throw new Refusal({
          code: 'KEYS_UNREACHABLE',
          status: 503,
          message: `the keys of the identity provider cannot be read: ${messageOf(error)}`,
          hint: 'see api.provider.jwks, and whether this machine reaches it',
          retryable: true,
        })
      }
    },
    rolesClaim,
    onRecord: false,
  }
}
