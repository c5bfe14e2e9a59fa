import { expect, test } from 'vitest'
import { refusalOf } from '../../../edge/mqtt/connect-rules.ts'
import { claimedName, handshakeRefusal, identify } from '../../../edge/mqtt/entrance/identity.ts'

const named = (CN: unknown, subjectaltname?: string): Parameters<typeof identify>[0] =>
  ({ subject: { CN }, subjectaltname }) as Parameters<typeof identify>[0]

test('the common name of the certificate is the device', () => {
  expect(identify(named('sensor-001'))).toEqual({ ok: true, deviceId: 'sensor-001' })
  expect(identify(named('a1', 'URI:urn:tidegate:device:a1'))).toMatchObject({ ok: true })
})

test('a name that is no device ID, several names or another role are no identity', () => {
  for (const name of ['', 'a/b', '+', '#', '../x', 'a b', 'x'.repeat(65), ['a1', 'a2'], undefined])
    expect({ name, ...identify(named(name)) }).toMatchObject({ name, ok: false, reason: 'bad-identity' })
  expect(identify(named('gw', 'URI:urn:tidegate:gateway:gw'))).toMatchObject({
    ok: false,
    reason: 'bad-identity',
  })
  expect(identify(undefined)).toMatchObject({ ok: false, reason: 'no-certificate' })
  expect(identify({} as Parameters<typeof identify>[0])).toMatchObject({
    ok: false,
    reason: 'no-certificate',
  })
})

test.each([
  ['a role beside the device', { subjectaltname: 'URI:urn:tidegate:device:a1, URI:urn:tidegate:gateway:a1' }],
  ['another case', { subjectaltname: 'URI:URN:TIDEGATE:gateway:a1' }],
  ['another role', { subjectaltname: 'URI:urn:tidegate:Admin' }],
  ['another device', { subjectaltname: 'DNS:a1, URI:urn:tidegate:device:b2' }],
  ['another device, quoted', { subjectaltname: 'URI:"urn:tidegate:device:a1,urn:tidegate:device:b2"' }],
  ['a CA', { ca: true }],
  ['a weak key', { modulus: 'C0FFEE', bits: 1024 }],
])('a certificate that names %s as well is no device’s', (_, more) => {
  const certificate = { ...named('a1'), ...more } as Parameters<typeof identify>[0]
  expect(identify(certificate)).toMatchObject({ ok: false, reason: 'bad-identity' })
})

test.each([
  { subjectaltname: 'URI:URN:tidegate:device:A1, DNS:a1.example' },
  { subjectaltname: 'URI:https://example/urn' },
  { ca: false, modulus: 'C0FFEE', bits: 2048 },
  { ca: false, bits: 256 },
])('a certificate that says no more than that it is the device’s is: %o', (more) => {
  expect(identify({ ...named('a1'), ...more } as Parameters<typeof identify>[0])).toMatchObject({ ok: true })
})

function reasonFor(verification: string): unknown {
  const identity = identify(named('a1'), verification)
  return identity.ok ? identity : identity.reason
}

test('a certificate that is not accepted has its reason, and no identity, whatever it names', () => {
  expect(reasonFor('CERT_HAS_EXPIRED')).toBe('expired-certificate')
  expect(reasonFor('SELF_SIGNED_CERT_IN_CHAIN')).toBe('unknown-ca')
  expect(reasonFor('SOMETHING_NEW')).toBe('handshake-failed')
  expect(reasonFor('')).toBe('handshake-failed')
  expect(identify({} as Parameters<typeof identify>[0], 'UNABLE_TO_GET_ISSUER_CERT')).toMatchObject({
    reason: 'no-certificate',
  })
})

test('the name in a certificate that is not accepted is cut, and holds printable characters only', () => {
  expect(claimedName(named('sensor-001'))).toBe('sensor-001')
  expect(claimedName(named('a\n\u001b[2Jé'))).toBe('a\\u000a\\u001b[2J\\u00e9')
  expect(claimedName(named('x'.repeat(1000)))).toHaveLength(64)
  for (const none of [named(['a1', 'a2']), named(undefined), undefined])
    expect(claimedName(none)).toBeUndefined()
})

test('a failed handshake has the reason of TLS', () => {
  expect(handshakeRefusal('ERR_SSL_WRONG_VERSION_NUMBER')).toBe('not-tls')
  expect(handshakeRefusal('ECONNRESET')).toBe('handshake-failed')
})

test('a CONNECT is refused for what the broker could not keep to', () => {
  const rules = { mayPublish: (_: string, topic: string) => topic.startsWith('devices/a1/') }
  const reason = (connect: Parameters<typeof refusalOf>[0]): string | undefined =>
    refusalOf(connect, 'a1', rules)?.reason
  expect(reason({ clientId: 'x', clean: false })).toBeUndefined()
  expect(reason({ clientId: '', clean: true, will: { topic: 'devices/a1/gone' } })).toBeUndefined()
  expect(reason({ clientId: '', clean: false })).toBe('client-id')
  expect(reason({ clientId: 'x'.repeat(129) })).toBe('client-id')
  expect(reason({ will: { topic: 'devices/a2/gone' } })).toBe('will-topic')
  expect(reason({ will: { topic: 'devices/a1/+' } })).toBe('will-topic')
  expect(reason({ will: { topic: '' } })).toBe('will-topic')
})
