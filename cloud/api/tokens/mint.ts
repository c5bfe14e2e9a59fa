import { randomUUID } from 'node:crypto'
import jwt from 'jsonwebtoken'
import type { Role } from '../rules/roles.ts'
import type { OwnKey } from './own-key.ts'
import type { Tokens } from './tokens.ts'

/** Ours are for a day's work and no longer. */
export const ownLifetimeMsMax = 12 * 3_600_000
/** Of a gateway, which nobody signs in at: it may fetch the snapshot of schemas, and nothing else. */
export const gatewayLifetimeMsMax = 366 * 86_400_000

/** How long a token of ours with these roles may be. */
export function lifetimeMsMaxOf(roles: readonly Role[]): number {
  return roles.every((role) => role === 'gateway') ? gatewayLifetimeMsMax : ownLifetimeMsMax
}

export interface Wish {
  subject: string
  roles: readonly Role[]
  forMs: number
  groups?: readonly string[] | undefined
  types?: readonly string[] | undefined
}

export interface Minted {
  token: string
  jti: string
  expiresAtMs: number
}

/** Signs a token of our own, once it is on this record. */
export type Mint = (wish: Wish, tokens: Pick<Tokens, 'add'>) => Promise<Minted>

export interface Minting {
  key: OwnKey
  issuer: string
  audience: string
  tokens: Pick<Tokens, 'add'>
  nowMs: number
}

/** A token of our own, on record before anybody has it. */
export async function mint(
  { subject, roles, forMs, groups, types }: Wish,
  { key, issuer, audience, tokens, nowMs }: Minting,
): Promise<Minted> {
  const issuedAtS = Math.floor(nowMs / 1000)
  const expiresAtS = issuedAtS + Math.floor(Math.min(forMs, lifetimeMsMaxOf(roles)) / 1000)
  const jti = randomUUID()
  const expiresAtMs = expiresAtS * 1000
  await tokens.add({ jti, subject, roles: [...roles], issuedAtMs: issuedAtS * 1000, expiresAtMs })
  const claims = {
    roles,
    ...(groups && { groups }),
    ...(types && { types }),
    iat: issuedAtS,
    exp: expiresAtS,
  }
  const token = jwt.sign(claims, key.privateKey, {
    algorithm: 'ES256',
    keyid: key.kid,
    issuer,
    audience,
    subject,
    jwtid: jti,
  })
  return { token, jti, expiresAtMs }
}
