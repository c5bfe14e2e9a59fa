import type { Clock } from '../../../src/clock.ts'
import type { Logger } from '../../../src/log.ts'
import { Refusal } from '../rules/problem.ts'
import type { ApiConfig } from '../rules/settings.ts'
import { createKeySet } from './key-set.ts'
import { gatewayLifetimeMsMax, ownLifetimeMsMax } from './mint.ts'
import type { OwnKey } from './own-key.ts'
import type { Issuer } from './verify.ts'

/** So long a token that was taken back has to be remembered at the most. */
export const providerLifetimeMsMax = 24 * 3_600_000

/** We, by our own key. */
export function ourselves({ issuer, audience }: NonNullable<ApiConfig['tokens']>, key: OwnKey): Issuer {
  return {
    issuer,
    audience,
    actorPrefix: 'token',
    algorithms: ['ES256'],
    lifetimeMsMax: ownLifetimeMsMax,
    gatewayLifetimeMsMax,
    key: (kid) => (kid === key.kid ? key.publicKey : undefined),
    rolesClaim: 'roles',
    groupsClaim: 'groups',
    typesClaim: 'types',
    required: [],
    onRecord: true,
  }
}

/** Somebody's identity provider, by the keys that it publishes. */
export function identityProvider(
  settings: NonNullable<ApiConfig['provider']>,
  surroundings: { read: () => Promise<string>; clock: Clock; log: Logger },
): Issuer {
  const { issuer, audience, algorithms, rolesClaim, groupsClaim, typesClaim } = settings
  const keys = createKeySet(surroundings)
  return {
    issuer,
    audience,
    actorPrefix: settings.name,
    algorithms,
    lifetimeMsMax: providerLifetimeMsMax,
    async key(kid, algorithm) {
      try {
        return await keys.find(kid, algorithm)
      } catch {
        // Why is in the log: who asks here is not known yet.
        throw new Refusal({
          code: 'KEYS_UNREACHABLE',
          status: 503,
          message: 'the keys of the identity provider cannot be read now',
          hint: 'the log of this cloud says why; ask again later',
          retryable: true,
        })
      }
    },
    rolesClaim,
    groupsClaim,
    typesClaim,
    required: [
      ...(settings.requireGroups ? [groupsClaim] : []),
      ...(settings.requireTypes ? [typesClaim] : []),
    ],
    onRecord: false,
  }
}
