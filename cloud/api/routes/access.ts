import { z } from 'zod'
import { hasRight, rightTexts, type Right, type Role, roleNames } from '../rules/roles.ts'
import { deedItem, pageShape, time } from '../rules/shapes.ts'
import { providerLifetimeMsMax } from '../tokens/issuers.ts'
import { gatewayLifetimeMsMax, lifetimeMsMaxOf } from '../tokens/mint.ts'
import type { TokenRecord } from '../tokens/tokens.ts'
import { deedOf, groupName, offered, paging, reason, refuseNarrowed, word } from './asking.ts'
import { route, type Route } from './route.ts'

const tag = 'Access'
const names = z.array(z.string())

const whoAmI = route({
  method: 'get',
  path: '/v1/me',
  tag,
  summary: 'Who is asking, and what that one may',
  right: undefined,
  answer: z.object({
    actor: z.string(),
    roles: names,
    rights: names,
    groups: names.nullable().meta({ description: 'the only ones; null: all' }),
    types: names.nullable(),
    until: time.nullable().meta({ description: 'when the token ends' }),
  }),
  handle({ caller }) {
    const { actor, roles, groups = null, types = null, untilMs } = caller
    const rights = (Object.keys(rightTexts) as Right[]).filter((right) => hasRight(caller, right))
    const until = untilMs === undefined ? null : new Date(untilMs).toISOString()
    return { body: { actor, roles, rights, groups, types, until } }
  },
})

const listDeeds = route({
  method: 'get',
  path: '/v1/deeds',
  tag,
  summary: 'Who did what and why, newest first',
  right: 'deeds',
  query: z.strictObject({ ...paging, actor: word(200).optional() }),
  answer: pageShape(deedItem),
  problems: ['CURSOR_INVALID', 'OUT_OF_SCOPE'],
  async handle({ query, caller }, { reads }) {
    refuseNarrowed(caller)
    const { items, next } = await reads.deeds(query)
    if (hasRight(caller, 'payload')) return { body: { items, next } }
    return { body: { items: items.map((deed) => ({ ...deed, request: withoutValues(deed.request) })), next } }
  },
})

const tokenItem = z.object({
  jti: z.string(),
  subject: z.string(),
  roles: names,
  issuedAt: time,
  expiresAt: time,
  revokedAt: time.nullable(),
})

const listTokens = route({
  method: 'get',
  path: '/v1/tokens',
  tag,
  summary: 'Tokens that were minted here, newest first, and those that were taken back',
  right: 'tokens',
  answer: pageShape(tokenItem),
  problems: ['OUT_OF_SCOPE'],
  async handle({ caller }, { tokens }) {
    refuseNarrowed(caller)
    return { body: { items: (await tokens.list()).map(tokenOf), next: null } }
  },
})

const revokeToken = route({
  method: 'post',
  path: '/v1/tokens/{jti}/revoke',
  tag,
  summary: 'Takes a token back, for good; one of an identity provider, too',
  right: 'tokens',
  params: z.strictObject({ jti: word(255) }),
  body: z.strictObject({ reason }),
  answer: tokenItem,
  problems: ['OUT_OF_SCOPE'],
  async handle(asked, { workplace, clock }) {
    refuseNarrowed(asked.caller)
    const deed = deedOf(asked, asked.body.reason, asked.params)
    const untilMs = clock.now() + providerLifetimeMsMax
    return { body: tokenOf(await offered(workplace, 'take tokens back').revokeToken(deed, untilMs)) }
  },
})

const minted = z.object({ token: z.string(), jti: z.string(), expiresAt: time })

const mintToken = route({
  method: 'post',
  path: '/v1/tokens',
  tag,
  summary: 'Mints a token: for who owns the machine, by the socket. A token makes no other',
  right: 'tokens',
  localOnly: true,
  body: z
    .strictObject({
      reason,
      subject: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$/),
      roles: z
        .array(z.enum(roleNames as [Role, ...Role[]]))
        .min(1)
        .max(roleNames.length),
      forMs: z.int().min(60_000).max(gatewayLifetimeMsMax),
      groups: z.array(groupName).min(1).max(100).optional(),
      types: z.array(word(128)).min(1).max(100).optional(),
    })
    .refine(({ roles, forMs }) => forMs <= lifetimeMsMaxOf(roles), {
      path: ['forMs'],
      error: 'is longer than 12 h: only a token of the role gateway alone may be, 366 days at most',
    }),
  answer: minted,
  problems: ['TOKEN_SHOWN_ONCE'],
  async handle(asked, { mint, workplace }) {
    const { reason, ...wish } = asked.body
    const signing = offered(mint, 'mint tokens: api.tokens.key is not set')
    const deed = deedOf(asked, reason, wish)
    return { body: await offered(workplace, 'mint tokens').mintToken(deed, signing) }
  },
})

const iso = (ms: number): string => new Date(ms).toISOString()

/** What a patch writes is what devices could have sent. */
function withoutValues(request: unknown): unknown {
  if (typeof request !== 'object' || request === null || !('patch' in request)) return request
  const { patch } = request
  const operations = Array.isArray(patch) ? (patch as { op: unknown; path: unknown }[]) : []
  return { ...request, patch: operations.map(({ op, path }) => ({ op, path })) }
}

function tokenOf({
  issuedAtMs,
  expiresAtMs,
  revokedAtMs,
  ...token
}: TokenRecord): z.output<typeof tokenItem> {
  return {
    ...token,
    issuedAt: iso(issuedAtMs),
    expiresAt: iso(expiresAtMs),
    revokedAt: revokedAtMs === null ? null : iso(revokedAtMs),
  }
}

export const accessRoutes: readonly Route[] = [whoAmI, listDeeds, listTokens, mintToken, revokeToken]
