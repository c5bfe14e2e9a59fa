import { z } from 'zod'
import { isLoopback } from '../../../src/listen.ts'

const file = z.string().min(1)
const name = z.string().min(1).max(255)

/** Signed with a key of one's own, or in the clear within this machine. */
function isKept(url: string): boolean {
  const { protocol, hostname } = new URL(url)
  return protocol === 'https:' || isLoopback(hostname)
}

const ownTokens = z.strictObject({
  key: file,
  issuer: name.default('tidegate'),
  audience: name.default('tidegate'),
})

const claim = z.string().regex(/^[A-Za-z][A-Za-z0-9_:/.-]{0,254}$/)

/** What stands before the subject of somebody whom nobody else may be taken for: others than the provider put theirs there. */
const takenNames: readonly string[] = ['local', 'token']

const provider = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,31}$/)
    .refine((one) => !takenNames.includes(one), { message: `must not be ${takenNames.join(' or ')}` })
    .default('oidc'),
  issuer: name,
  audience: name,
  jwks: z
    .url({ protocol: /^https?$/, error: 'must be an https:// URL' })
    .refine(isKept, { message: 'must be https://: whoever is on the way could sign tokens' }),
  // Asymmetric ones alone: with HS256 whoever has the public key could sign.
  algorithms: z
    .array(z.enum(['ES256', 'ES384', 'ES512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']))
    .min(1)
    .default(['ES256', 'RS256']),
  rolesClaim: claim.default('roles'),
  // Providers write groups of their own into `groups`, which would narrow everybody to groups that there are not.
  groupsClaim: claim.default('tidegate_groups'),
  typesClaim: claim.default('tidegate_types'),
  requireGroups: z.boolean().default(false),
  requireTypes: z.boolean().default(false),
})

/** `api` of the cloud's configuration: docs/API.md. */
export const apiConfigSchema = z
  .strictObject({
    host: z.string().default('127.0.0.1'),
    port: z.int().min(0).max(65_535).optional(),
    hosts: z.array(z.string().min(1)).default([]),
    tls: z.strictObject({ cert: file, key: file }).optional(),
    insecure: z.boolean().default(false),
    socket: file.optional(),
    connectionsMax: z.int().min(1).max(10_000).default(100),
    requestsPerSecond: z.number().min(0.1).max(10_000).default(20),
    tokens: ownTokens.optional(),
    provider: provider.optional(),
  })
  .refine(
    ({ port, tokens, provider }) => port === undefined || tokens !== undefined || provider !== undefined,
    {
      path: ['port'],
      error: 'nobody could sign in: set api.tokens.key, or api.provider, or only api.socket',
    },
  )
  .refine(({ tokens, provider }) => tokens === undefined || tokens.issuer !== provider?.issuer, {
    path: ['provider', 'issuer'],
    error: 'must not be that of api.tokens: whose key a token is to be checked with goes by its issuer',
  })

export type ApiConfig = z.output<typeof apiConfigSchema>

/** With its files where they are. */
export function apiPaths(config: ApiConfig, absolute: (path: string) => string): ApiConfig {
  const { tls, socket, tokens } = config
  return {
    ...config,
    ...(tls && { tls: { cert: absolute(tls.cert), key: absolute(tls.key) } }),
    ...(socket !== undefined && { socket: absolute(socket) }),
    ...(tokens && { tokens: { ...tokens, key: absolute(tokens.key) } }),
  }
}

/** Of a request that carries schemas, and a signed snapshot of all of them in base64. */
export const schemaBodyBytesMax = 33_554_432
