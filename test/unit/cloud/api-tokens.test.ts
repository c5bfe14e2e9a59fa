import { createHmac, generateKeyPairSync } from 'node:crypto'
import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import { ourselves } from '../../../cloud/api/tokens/issuers.ts'
import { mint } from '../../../cloud/api/tokens/mint.ts'
import { ownKeyOf } from '../../../cloud/api/tokens/own-key.ts'
import { createVerifier, type TokenFault } from '../../../cloud/api/tokens/verify.ts'
import {
  clockAt,
  createTestApi,
  fakeTokens,
  good,
  newOwnKey,
  nowS,
  own,
  signed,
} from '../../support/cloud/test-api.ts'

const key = newOwnKey()
const stranger = newOwnKey()
const ours = (claims: object = {}, more: Parameters<typeof signed>[2] = {}): string =>
  signed({ ...good, ...claims }, key.privateKey, { kid: key.kid, ...more })

const without = (name: keyof typeof good): object => ({ ...good, [name]: undefined })

function verifier({ onRecord = ['j-1'] }: { onRecord?: string[] } = {}) {
  const tokens = fakeTokens()
  for (const jti of onRecord)
    void tokens.add({ jti, subject: 'ann', roles: [], issuedAtMs: 0, expiresAtMs: 0 })
  const faults: TokenFault[] = []
  const verify = createVerifier({
    issuers: [ourselves({ ...own, key: '' }, key)],
    tokens,
    clock: clockAt(),
    onRefused: (fault) => faults.push(fault),
  })
  return { tokens, faults, verify }
}

const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
function hmacOfPublicKey(): string {
  const head = `${part({ alg: 'HS256', typ: 'JWT', kid: key.kid })}.${part(good)}`
  const secret = key.publicKey.export({ format: 'pem', type: 'spki' })
  return `${head}.${createHmac('sha256', secret).update(head).digest('base64url')}`
}

describe('a token of ours', () => {
  test('says who asks, until when, and of which groups and types alone', async () => {
    const { verify } = verifier()
    const token = ours({ groups: ['alerts'], types: ['com.acme.climate'] })
    expect(await verify(`Bearer ${token}`)).toEqual({
      actor: 'token:ann',
      roles: ['operator'],
      groups: ['alerts'],
      types: ['com.acme.climate'],
      local: false,
      untilMs: good.exp * 1000,
    })
  })

  test.each<[string, string | undefined, TokenFault]>([
    ['nothing', undefined, 'missing'],
    ['no bearer token', 'Basic YTpi', 'malformed'],
    ['no token', 'Bearer a.b.c', 'malformed'],
    ['too much', `Bearer a.${'b'.repeat(9000)}.c`, 'malformed'],
    ['none', `Bearer ${part({ alg: 'none', kid: key.kid })}.${part(good)}.`, 'algorithm'],
    ['HS256 with the public key', `Bearer ${hmacOfPublicKey()}`, 'algorithm'],
    [
      'another key under our ID',
      `Bearer ${signed(good, stranger.privateKey, { kid: key.kid })}`,
      'signature',
    ],
    ['our key under another ID', `Bearer ${ours({}, { kid: stranger.kid })}`, 'key'],
    ['our key without an ID', `Bearer ${signed(good, key.privateKey)}`, 'key'],
    [
      'an altered claim',
      `Bearer ${ours().replace(/\.[^.]+\./, `.${part({ ...good, roles: ['admin'] })}.`)}`,
      'signature',
    ],
    ['a foreign issuer', `Bearer ${ours({ iss: 'https://evil.example' })}`, 'issuer'],
    ['a foreign audience', `Bearer ${ours({ aud: 'console' })}`, 'audience'],
    ['an expired one', `Bearer ${ours({ exp: nowS - 6 })}`, 'expired'],
    ['one of tomorrow', `Bearer ${ours({ nbf: nowS + 60 })}`, 'early'],
    ['one for days', `Bearer ${ours({ exp: nowS + 13 * 3600 })}`, 'lifetime'],
    ['one without an end', `Bearer ${signed(without('exp'), key.privateKey, { kid: key.kid })}`, 'claims'],
    ['one of nobody', `Bearer ${ours({ sub: undefined })}`, 'claims'],
    ['groups that are no list', `Bearer ${ours({ groups: 'alerts' })}`, 'claims'],
    ['one that is not on record', `Bearer ${ours({ jti: 'j-2' })}`, 'unrecorded'],
    ['one without an ID', `Bearer ${signed(without('jti'), key.privateKey, { kid: key.kid })}`, 'unrecorded'],
    ['no role', `Bearer ${ours({ roles: undefined })}`, 'role'],
    ['a role that there is not', `Bearer ${ours({ roles: ['root', '__proto__'] })}`, 'role'],
  ])('%s is refused, and counted as what it is', async (_, authorization, fault) => {
    const { verify, faults } = verifier()
    const refusal = await verify(authorization).catch((error: unknown) => error)
    expect(faults).toEqual([fault])
    const codes = { missing: 'TOKEN_MISSING', role: 'ROLE_MISSING' } as Partial<Record<TokenFault, string>>
    expect(refusal).toMatchObject({
      code: codes[fault] ?? 'TOKEN_REFUSED',
      status: fault === 'role' ? 403 : 401,
    })
  })

  test('that was taken back is refused at once', async () => {
    const { verify, tokens, faults } = verifier()
    await verify(`Bearer ${ours()}`)
    await tokens.revoke('j-1', 0)
    await expect(verify(`Bearer ${ours()}`)).rejects.toMatchObject({ code: 'TOKEN_REFUSED' })
    expect(faults).toEqual(['revoked'])
  })

  test('is good for 12 hours at the most, and on record before anybody has it', async () => {
    const tokens = fakeTokens()
    const wish = { subject: 'ann', roles: ['viewer'] as const, forMs: 100 * 3_600_000 }
    const { jti, expiresAtMs } = await mint(wish, { key, ...own, tokens, nowMs: nowS * 1000 })
    expect(expiresAtMs).toBe((nowS + 12 * 3600) * 1000)
    expect(tokens.records.get(jti)).toMatchObject({ subject: 'ann', expiresAtMs, revokedAtMs: null })
  })

  test('is signed on P-256 and nothing else', () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'secp384r1' })
    expect(() => ownKeyOf(privateKey, 'a.key')).toThrow(expect.objectContaining({ code: 'API_KEY_UNFIT' }))
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
    expect(() => ownKeyOf(rsa, 'a.key')).toThrow(expect.objectContaining({ code: 'API_KEY_UNFIT' }))
  })
})

describe('a token that is refused', () => {
  test('is in no log and in no answer', async () => {
    const lines: string[] = []
    const log = pino({}, { write: (line: string) => void lines.push(line) })
    const api = createTestApi({ log })
    const token = ours({ iss: 'https://evil.example' })
    const answer = await api.ask('/v1/me', { token })
    expect(answer.status).toBe(401)
    const said = (await answer.text()) + lines.join('')
    for (const piece of token.split('.')) expect(said).not.toContain(piece)
    expect(api.refused).toEqual(['issuer'])
  })
})
