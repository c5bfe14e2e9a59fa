import type { KeyObject } from 'node:crypto'
import jwt from 'jsonwebtoken'
import { z } from 'zod'
import type { Clock } from '../../../src/clock.ts'
import { Refusal } from '../rules/problem.ts'
import { type Caller, isRole } from '../rules/roles.ts'
import type { Tokens } from './tokens.ts'

/** Why somebody is not let in: label of a metric. */
export const tokenFaults = [
  'missing',
  'malformed',
  'algorithm',
  'issuer',
  'key',
  'signature',
  'audience',
  'expired',
  'early',
  'lifetime',
  'claims',
  'unrecorded',
  'revoked',
  'role',
] as const

export type TokenFault = (typeof tokenFaults)[number]

/** Somebody whose tokens are believed. */
export interface Issuer {
  issuer: string
  audience: string
  algorithms: readonly jwt.Algorithm[]
  /** From `iat` to `exp`. */
  lifetimeMsMax: number
  /** Of those that are a gateway's and nothing else; absent: the same. */
  gatewayLifetimeMsMax?: number
  /** The key of this ID for this algorithm; undefined: there is none. */
  key(kid: string, algorithm: string): Promise<KeyObject | undefined> | KeyObject | undefined
  /** Before the subject, with a colon: whom it names is nobody of another issuer. */
  actorPrefix: string
  /** A claim by its name, or by its path: `realm_access.roles`. */
  rolesClaim: string
  groupsClaim: string
  typesClaim: string
  /** Those without which no token is taken: else who lacks them is for all groups, or types. */
  required: readonly string[]
  /** Every token of it is on record: one that is not was signed by somebody else who has the key. */
  onRecord: boolean
}

export interface VerifierOptions {
  issuers: readonly Issuer[]
  tokens: Pick<Tokens, 'standing'>
  clock: Pick<Clock, 'now'>
  /** Never gets the token, nor anything in it that is not proven. */
  onRefused(fault: TokenFault): void
}

/** Who asks, by the Authorization field. @throws Refusal `TOKEN_MISSING`, `TOKEN_REFUSED`, `ROLE_MISSING`, `KEYS_UNREACHABLE` */
export type Verifier = (authorization: string | undefined) => Promise<Caller>

const tokenLengthMax = 8_192
/** Clocks of two machines differ. */
const toleranceS = 5

const names = z.array(z.string().min(1).max(255)).max(100).optional()
const claims = z.object({
  sub: z.string().regex(/^[\u0021-\u007e][\u0020-\u007e]{0,127}$/),
  iat: z.number(),
  exp: z.number(),
  jti: z.string().min(1).max(255).optional(),
})

const faultTexts: Readonly<Record<TokenFault, string>> = {
  missing: 'there is no token',
  malformed: 'it is no token',
  algorithm: 'its algorithm is not one of those that are taken',
  issuer: 'its issuer is not one that is believed',
  key: 'its key is not one of its issuer',
  signature: 'its signature is not that of its issuer',
  audience: 'it was made for somebody else',
  expired: 'it has expired',
  early: 'it is not good yet',
  lifetime: 'it is good for longer than a token may be',
  claims: 'it lacks iat, exp or sub, or groups or types that are required, or these are no lists of names',
  unrecorded: 'it was not minted here',
  revoked: 'it was taken back',
  role: 'it has none of the roles',
}

export function createVerifier(options: VerifierOptions): Verifier {
  return async (authorization) => {
    try {
      return await callerOf(tokenIn(authorization), options)
    } catch (error) {
      if (!(error instanceof Fault)) throw error
      options.onRefused(error.fault)
      throw refusalOf(error.fault)
    }
  }
}

class Fault extends Error {
  readonly fault: TokenFault
  constructor(fault: TokenFault) {
    super(fault)
    this.fault = fault
  }
}

function tokenIn(authorization: string | undefined): string {
  if (authorization === undefined) throw new Fault('missing')
  const [, token] = /^Bearer +([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*)$/i.exec(authorization) ?? []
  if (token === undefined || token.length > tokenLengthMax) throw new Fault('malformed')
  return token
}

async function callerOf(token: string, { issuers, tokens, clock }: VerifierOptions): Promise<Caller> {
  const { header, claimed } = unproven(token)
  // Of what is not proven yet only this is gone by: whose key it is to be proven with.
  const issuer = issuers.find((one) => one.issuer === claimed)
  if (issuer === undefined) throw new Fault('issuer')
  if (!(issuer.algorithms as readonly string[]).includes(header.alg)) throw new Fault('algorithm')
  const key = await issuer.key(header.kid, header.alg)
  if (key === undefined) throw new Fault('key')
  const proven = proved(token, key, issuer, clock.now())
  const read = claims.safeParse(proven)
  if (!read.success) throw new Fault('claims')
  const { sub, iat, exp, jti } = read.data
  const { groups, types } = scopeIn(proven, issuer)
  const said = claimAt(proven, issuer.rolesClaim)
  const roles = (Array.isArray(said) ? said : [said]).filter(isRole)
  const isGateway = roles.length > 0 && roles.every((role) => role === 'gateway')
  const { lifetimeMsMax, gatewayLifetimeMsMax = lifetimeMsMax } = issuer
  if ((exp - iat) * 1000 > (isGateway ? gatewayLifetimeMsMax : lifetimeMsMax)) throw new Fault('lifetime')
  await refuseRevoked(jti, issuer, tokens)
  if (roles.length === 0) throw new Fault('role')
  return { actor: `${issuer.actorPrefix}:${sub}`, roles, groups, types, local: false, untilMs: exp * 1000 }
}

/** Of which groups and types alone it is. */
function scopeIn(
  proven: jwt.JwtPayload,
  { groupsClaim, typesClaim, required }: Issuer,
): Pick<Caller, 'groups' | 'types'> {
  if (required.some((name) => claimAt(proven, name) === undefined)) throw new Fault('claims')
  const [groups, types] = [groupsClaim, typesClaim].map((name) => names.safeParse(claimAt(proven, name)))
  if (groups?.success !== true || types?.success !== true) throw new Fault('claims')
  return { groups: groups.data, types: types.data }
}

/** By its whole name first: that of a claim may be a URL, with dots in it. */
function claimAt(claims: object, path: string): unknown {
  if (Object.hasOwn(claims, path)) return (claims as Record<string, unknown>)[path]
  const [first = '', ...rest] = path.split('.')
  if (rest.length === 0 || !Object.hasOwn(claims, first)) return undefined
  const inner = (claims as Record<string, unknown>)[first]
  return typeof inner === 'object' && inner !== null ? claimAt(inner, rest.join('.')) : undefined
}

function unproven(token: string): { header: { alg: string; kid: string }; claimed: unknown } {
  const decoded = decode(token)
  if (decoded === null || typeof decoded.payload !== 'object') throw new Fault('malformed')
  const { alg, kid, crit } = decoded.header
  // What is critical must be understood (RFC 7515, 4.1.11), and none of it is.
  if (typeof alg !== 'string' || crit !== undefined) throw new Fault('malformed')
  if (kid !== undefined && (typeof kid !== 'string' || kid.length > 255)) throw new Fault('malformed')
  return { header: { alg, kid: kid ?? '' }, claimed: decoded.payload.iss }
}

function decode(token: string): jwt.Jwt | null {
  try {
    return jwt.decode(token, { complete: true })
  } catch {
    return null
  }
}

function proved(token: string, key: KeyObject, issuer: Issuer, nowMs: number): jwt.JwtPayload {
  try {
    const payload = jwt.verify(token, key, {
      algorithms: [...issuer.algorithms],
      issuer: issuer.issuer,
      audience: issuer.audience,
      clockTimestamp: Math.floor(nowMs / 1000),
      clockTolerance: toleranceS,
    })
    if (typeof payload === 'object') return payload
  } catch (error) {
    throw new Fault(faultOf(error))
  }
  throw new Fault('malformed')
}

function faultOf(error: unknown): TokenFault {
  if (error instanceof jwt.TokenExpiredError) return 'expired'
  if (error instanceof jwt.NotBeforeError) return 'early'
  const message = error instanceof Error ? error.message : ''
  if (message.startsWith('jwt audience')) return 'audience'
  if (message.startsWith('jwt issuer')) return 'issuer'
  if (message.includes('algorithm')) return 'algorithm'
  return message.startsWith('jwt') ? 'malformed' : 'signature'
}

async function refuseRevoked(
  jti: string | undefined,
  { onRecord }: Issuer,
  tokens: VerifierOptions['tokens'],
): Promise<void> {
  const standing = jti === undefined ? 'unknown' : await tokens.standing(jti)
  if (standing === 'revoked') throw new Fault('revoked')
  if (standing === 'unknown' && onRecord) throw new Fault('unrecorded')
}

function refusalOf(fault: TokenFault): Refusal {
  const headers = { 'www-authenticate': 'Bearer realm="tidegate"' }
  if (fault === 'missing') {
    return new Refusal({
      code: 'TOKEN_MISSING',
      status: 401,
      message: 'this needs a token in the field Authorization: Bearer …',
      hint: 'tidegate token mint, on the machine of the cloud, or sign in with your identity provider',
      headers,
    })
  }
  if (fault === 'role') {
    return new Refusal({
      code: 'ROLE_MISSING',
      status: 403,
      message: 'the token is good, and it has none of the roles',
      hint: 'docs/API.md lists the roles; with an identity provider, api.provider.rolesClaim says which claim has them',
    })
  }
  return new Refusal({
    code: 'TOKEN_REFUSED',
    status: 401,
    message: `the token is not taken: ${faultTexts[fault]}`,
    hint: 'get another one: tidegate token mint, or sign in again with your identity provider',
    headers: { 'www-authenticate': 'Bearer realm="tidegate", error="invalid_token"' },
  })
}
