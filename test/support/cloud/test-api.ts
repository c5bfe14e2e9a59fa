import { generateKeyPairSync, type KeyObject, randomUUID } from 'node:crypto'
import jwt from 'jsonwebtoken'
import { type AppOptions, createApp } from '../../../cloud/api/app.ts'
import type { RefusalReason } from '../../../cloud/api/observer.ts'
import { allRoutes } from '../../../cloud/api/routes/all.ts'
import type { Parts } from '../../../cloud/api/routes/route.ts'
import type { Role } from '../../../cloud/api/rules/roles.ts'
import { ourselves } from '../../../cloud/api/tokens/issuers.ts'
import { mint } from '../../../cloud/api/tokens/mint.ts'
import { ownKeyOf, type OwnKey } from '../../../cloud/api/tokens/own-key.ts'
import type { TokenRecord, Tokens } from '../../../cloud/api/tokens/tokens.ts'
import { createVerifier, type Issuer } from '../../../cloud/api/tokens/verify.ts'
import { type Clock, systemClock } from '../../../src/clock.ts'
import { type Logger, silentLog } from '../../../src/log.ts'

export function newOwnKey(): OwnKey {
  return ownKeyOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey, 'test.key')
}

/** Tokens in memory. */
export function fakeTokens(): Tokens & { records: Map<string, TokenRecord> } {
  const records = new Map<string, TokenRecord>()
  return {
    records,
    async add(token) {
      records.set(token.jti, { ...token, revokedAtMs: null })
    },
    async standing(jti) {
      const found = records.get(jti)
      if (found === undefined) return 'unknown'
      return found.revokedAtMs === null ? 'good' : 'revoked'
    },
    list: async () => [...records.values()],
    async revoke(jti, expiresAtMs) {
      const nothing = { jti, subject: 'unknown', roles: [], issuedAtMs: 0, expiresAtMs }
      const revoked = { ...(records.get(jti) ?? nothing), revokedAtMs: 1 }
      records.set(jti, revoked)
      return revoked
    },
  }
}

/** When tokens are looked at, seconds since the Unix epoch. */
export const nowS = 1_800_000_000
export const clockAt = (seconds = nowS): { now: () => number } => ({ now: () => seconds * 1000 })

/** Claims that are taken. */
export const good = {
  iss: 'tidegate',
  aud: 'tidegate',
  sub: 'ann',
  jti: 'j-1',
  iat: nowS - 10,
  exp: nowS + 3600,
  roles: ['operator'],
}

export const own = { issuer: 'tidegate', audience: 'tidegate' }

export interface TestApi {
  key: OwnKey
  tokens: ReturnType<typeof fakeTokens>
  refused: RefusalReason[]
  answered: { route: string; status: number }[]
  /** A token of ours, on record. */
  tokenOf(role: Role | readonly Role[], more?: { groups?: string[]; types?: string[] }): Promise<string>
  /** Asks as somebody; writes get a key and what else they need. */
  ask(path: string, asked?: Asking): Promise<Response>
}

export interface Asking {
  token?: string
  method?: string
  body?: unknown
  headers?: Record<string, string>
  address?: string
}

export interface TestApiOptions {
  parts?: Partial<Parts>
  clock?: Clock
  log?: Logger
  issuers?: readonly Issuer[]
  requestsPerSecond?: number
  routes?: AppOptions['routes']
}

/** The API without a socket: requests are given to it, and answers taken. */
export function createTestApi(options: TestApiOptions = {}): TestApi {
  const { parts = {}, clock = systemClock, log = silentLog, issuers = [], requestsPerSecond = 1000 } = options
  const key = newOwnKey()
  const tokens = fakeTokens()
  const refused: RefusalReason[] = []
  const answered: TestApi['answered'] = []
  const verify = createVerifier({
    issuers: [ourselves({ ...own, key: '' }, key), ...issuers],
    tokens,
    clock,
    onRefused: (fault) => refused.push(fault),
  })
  const app = createApp({
    routes: options.routes ?? allRoutes,
    parts: { reads: undefined as never, tokens, clock, ...parts },
    authenticate: (headers) => verify(headers.get('authorization') ?? undefined),
    originOf: (bindings) => ({
      address: (bindings as { address?: string }).address ?? '',
      isCalledSo: (host) => host !== 'evil.example',
    }),
    requestsPerSecond,
    observer: {
      answered: (route, status) => answered.push({ route, status }),
      refused: (reason) => refused.push(reason),
    },
    clock,
    log,
  })
  return {
    key,
    tokens,
    refused,
    answered,
    async tokenOf(role, more = {}) {
      const roles = typeof role === 'string' ? [role] : role
      const wish = { subject: `a-${roles.join('-')}`, roles, forMs: 3_600_000, ...more }
      return (await mint(wish, { key, ...own, tokens, nowMs: clock.now() })).token
    },
    async ask(path, { token, method = 'GET', body, headers = {}, address = '' } = {}) {
      return app.request(
        path,
        {
          method,
          headers: {
            ...(token !== undefined && { authorization: `Bearer ${token}` }),
            ...(method !== 'GET' && { 'idempotency-key': randomUUID() }),
            ...(body !== undefined && { 'content-type': 'application/json' }),
            ...headers,
          },
          ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
        },
        { address },
      )
    },
  }
}

/** A token of whatever claims, signed by whatever key. */
export function signed(
  claims: object,
  key: KeyObject | string,
  { alg = 'ES256', kid }: { alg?: jwt.Algorithm; kid?: string } = {},
): string {
  const there = JSON.parse(JSON.stringify(claims)) as object
  return jwt.sign(there, key, {
    algorithm: alg,
    allowInsecureKeySizes: true,
    ...(kid !== undefined && { keyid: kid }),
  })
}
