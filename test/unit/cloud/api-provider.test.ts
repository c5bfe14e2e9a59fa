import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { identityProvider, ourselves } from '../../../cloud/api/tokens/issuers.ts'
import { apiConfigSchema } from '../../../cloud/api/rules/settings.ts'
import { createKeySet } from '../../../cloud/api/tokens/key-set.ts'
import { createVerifier, type TokenFault } from '../../../cloud/api/tokens/verify.ts'
import { silentLog } from '../../../src/log.ts'
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
import { FakeClock } from '../../support/fakes/clock.ts'

const key = newOwnKey()
const ours = (claims: object = {}, more: Parameters<typeof signed>[2] = {}): string =>
  signed({ ...good, ...claims }, key.privateKey, { kid: key.kid, ...more })

function ourVerifier() {
  const tokens = fakeTokens()
  void tokens.add({ jti: 'j-1', subject: 'ann', roles: [], issuedAtMs: 0, expiresAtMs: 0 })
  const issuers = [ourselves({ ...own, key: '' }, key)]
  return createVerifier({ issuers, tokens, clock: clockAt(), onRefused: () => {} })
}

describe('the keys of an identity provider', () => {
  const provider = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const settings = {
    name: 'oidc',
    issuer: 'https://id.example',
    audience: 'tidegate',
    jwks: 'https://id.example/jwks',
    algorithms: ['RS256' as const],
    rolesClaim: 'tidegate_roles',
    groupsClaim: 'tidegate_groups',
    typesClaim: 'tidegate_types',
    requireGroups: false,
    requireTypes: false,
  }
  const jwk = { ...provider.publicKey.export({ format: 'jwk' }), kid: 'k1', use: 'sig', alg: 'RS256' }
  const claims = { ...good, iss: settings.issuer, jti: undefined, tidegate_roles: ['editor', 'unheard-of'] }
  const theirs = (more: object = {}): string =>
    `Bearer ${signed({ ...claims, ...more }, provider.privateKey, { alg: 'RS256', kid: 'k1' })}`

  function verifierOf(documents: (object | Error | Promise<never>)[], more: Partial<typeof settings> = {}) {
    const clock = new FakeClock()
    let asked = 0
    const read = async (): Promise<string> => {
      const document = documents[Math.min(asked++, documents.length - 1)]
      if (document instanceof Error) throw document
      return JSON.stringify(await document)
    }
    const issuers = [
      ourselves({ ...own, key: '' }, key),
      identityProvider({ ...settings, ...more }, { read, clock, log: silentLog }),
    ]
    const faults: TokenFault[] = []
    const verify = createVerifier({
      issuers,
      tokens: fakeTokens(),
      clock: clockAt(),
      onRefused: (fault) => faults.push(fault),
    })
    return { verify, faults, clock, asked: () => asked }
  }

  test('are asked for once, and a role comes by the claim that is named', async () => {
    const { verify, asked } = verifierOf([{ keys: [jwk] }])
    expect(await Promise.all([verify(theirs()), verify(theirs())])).toMatchObject([
      { actor: 'oidc:ann', roles: ['editor'] },
      { actor: 'oidc:ann' },
    ])
    await verify(theirs())
    expect(asked()).toBe(1)
  })

  test('do not sign for us, nor our key for them', async () => {
    const { verify, faults } = verifierOf([{ keys: [jwk] }])
    await verify(theirs({ iss: 'tidegate' })).catch(() => {})
    await verify(`Bearer ${signed(claims, key.privateKey, { kid: key.kid })}`).catch(() => {})
    await verify(`Bearer ${signed(claims, provider.privateKey, { alg: 'RS512', kid: 'k1' })}`).catch(() => {})
    expect(faults).toEqual(['algorithm', 'algorithm', 'algorithm'])
  })

  test('that nobody knows are looked for twice a minute at the most', async () => {
    const { verify, faults, asked, clock } = verifierOf([{ keys: [] }, { keys: [jwk] }])
    for (let count = 0; count < 5; count++) await verify(theirs()).catch(() => {})
    expect([asked(), faults]).toEqual([1, Array(5).fill('key')])
    await clock.advance(30_001)
    expect(await verify(theirs())).toMatchObject({ actor: 'oidc:ann' })
    expect(asked()).toBe(2)
  })

  test('stay good while the provider does not answer, and without any it is "not now"', async () => {
    const { verify, clock } = verifierOf([{ keys: [jwk] }, new Error('away')])
    await verify(theirs())
    await clock.advance(600_001)
    expect(await verify(theirs())).toMatchObject({ actor: 'oidc:ann' })
    const away = verifierOf([new Error('away')])
    await expect(away.verify(theirs())).rejects.toMatchObject({ code: 'KEYS_UNREACHABLE', status: 503 })
    await expect(away.verify(theirs())).rejects.toMatchObject({ code: 'KEYS_UNREACHABLE' })
    expect(away.asked()).toBe(1)
  })

  test('name nobody who could be taken for another: a subject may say what it likes', async () => {
    const { verify } = verifierOf([{ keys: [jwk] }], { name: 'okta' })
    for (const sub of ['local:root', 'token:ann', 'ann@okta'])
      expect((await verify(theirs({ sub }))).actor).toBe(`okta:${sub}`)
    expect((await ourVerifier()(`Bearer ${ours({ sub: 'okta:ann' })}`)).actor).toBe('token:okta:ann')
    // oxlint-disable-next-line unicorn/consistent-function-scoping -- read where it is used
    const parsed = (name: string) =>
      apiConfigSchema.safeParse({ provider: { ...settings, name, algorithms: ['RS256'] } }).success
    expect(['okta', 'local', 'token', 'a:b', ''].map(parsed)).toEqual([true, false, false, false, false])
  })

  test('have groups of their own, by which nobody is narrowed; ours are by the claims that are named, wherever they lie', async () => {
    const plain = verifierOf([{ keys: [jwk] }])
    expect(await plain.verify(theirs({ groups: ['staff', 'vpn'], types: 'x' }))).toMatchObject({
      groups: undefined,
      types: undefined,
    })
    expect(await plain.verify(theirs({ tidegate_groups: ['alerts'] }))).toMatchObject({ groups: ['alerts'] })
    const nested = verifierOf([{ keys: [jwk] }], {
      rolesClaim: 'realm_access.roles',
      groupsClaim: 'https://acme.example/groups',
      typesClaim: 'tidegate.types',
    })
    const claimed = {
      realm_access: { roles: ['viewer', 'offline_access'] },
      'https://acme.example/groups': ['alerts'],
      tidegate: { types: ['com.acme.climate'] },
    }
    expect(await nested.verify(theirs(claimed))).toMatchObject({
      roles: ['viewer'],
      groups: ['alerts'],
      types: ['com.acme.climate'],
    })
    await nested.verify(theirs({ ...claimed, tidegate: { types: 'all' } })).catch(() => {})
    await nested.verify(theirs({ realm_access: 'viewer' })).catch(() => {})
    expect(nested.faults).toEqual(['claims', 'role'])
  })

  test('are refused without the groups that are required, instead of being for all', async () => {
    const { verify, faults } = verifierOf([{ keys: [jwk] }], { requireGroups: true })
    await expect(verify(theirs())).rejects.toMatchObject({ code: 'TOKEN_REFUSED' })
    expect(await verify(theirs({ tidegate_groups: ['alerts'] }))).toMatchObject({ groups: ['alerts'] })
    expect(faults).toEqual(['claims'])
  })

  test('that are known are good at once, however slow the provider is and whatever key others make up', async () => {
    const never = new Promise<never>(() => {})
    const { verify, clock, asked } = verifierOf([{ keys: [jwk] }, never])
    await verify(theirs())
    await clock.advance(30_001)
    const madeUp = `Bearer ${signed(claims, provider.privateKey, { alg: 'RS256', kid: 'k9' })}`
    void verify(madeUp).catch(() => {})
    expect(await verify(theirs())).toMatchObject({ actor: 'oidc:ann' })
    await clock.advance(600_001)
    expect(await verify(theirs())).toMatchObject({ actor: 'oidc:ann' })
    expect(asked()).toBe(2)
  })

  test('are away, and why is for the log alone; who asks on and on is not heard for a while', async () => {
    // oxlint-disable-next-line unicorn/consistent-function-scoping -- read where it is used
    const read = async (): Promise<string> => {
      throw new Error('connect ECONNREFUSED 10.1.2.3:443')
    }
    const clock = new FakeClock(nowS * 1000)
    const api = createTestApi({
      clock,
      issuers: [identityProvider(settings, { read, clock, log: silentLog })],
    })
    const token = theirs().slice('Bearer '.length)
    const answer = await api.ask('/v1/me', { token, address: '10.0.0.1' })
    expect([answer.status, await answer.text()]).toEqual([503, expect.not.stringContaining('10.1.2.3')])
    for (let count = 0; count < 100; count++) await api.ask('/v1/me', { token, address: '10.0.0.1' })
    expect((await api.ask('/v1/me', { token, address: '10.0.0.1' })).status).toBe(429)
  })

  test('are those for signatures, of their own algorithm, and never a secret', async () => {
    const clock = new FakeClock()
    const secret = { kty: 'oct', k: 'c2VjcmV0', kid: 'k2', alg: 'HS256' }
    const read = async (): Promise<string> =>
      JSON.stringify({ keys: [secret, { ...jwk, use: 'enc', kid: 'k3' }, { kty: 'XY', kid: 'k4' }, jwk] })
    const keys = createKeySet({ read, clock, log: silentLog })
    expect(await keys.find('k1', 'RS256')).toBeDefined()
    expect(await keys.find('k1', 'PS256')).toBeUndefined()
    for (const kid of ['k2', 'k3', 'k4']) expect(await keys.find(kid, 'HS256')).toBeUndefined()
  })
})
