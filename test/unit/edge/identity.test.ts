import { expect, test } from 'vitest'
import { refusalOf } from '../../../edge/mqtt/connect-rules.ts'
import { handshakeRefusal, identify } from '../../../edge/mqtt/identity.ts'

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

test('a failed handshake has the reason of the certificate check, else of TLS', () => {
  expect(handshakeRefusal('ECONNRESET', 'CERT_HAS_EXPIRED')).toBe('expired-certificate')
  expect(handshakeRefusal('ECONNRESET', 'SELF_SIGNED_CERT_IN_CHAIN')).toBe('unknown-ca')
  expect(handshakeRefusal('ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE', null)).toBe('no-certificate')
  expect(handshakeRefusal('ECONNRESET', null)).toBe('handshake-failed')
  expect(handshakeRefusal('ECONNRESET', 'SOMETHING_NEW')).toBe('handshake-failed')
})

test('a CONNECT is refused for what the broker could not keep to', () => {
  const rules = { mayPublish: (_: string, topic: string) => topic.startsWith('devices/a1/') }
  const reason = (connect: Parameters<typeof refusalOf>[0]): string | undefined =>
    refusalOf(connect, 'a1', rules)?.reason
  expect(reason({ protocolVersion: 4, clientId: 'x', clean: false })).toBeUndefined()
  expect(reason({ protocolVersion: 3, clientId: 'x' })).toBeUndefined()
  expect(reason({ clientId: '', clean: true, will: { topic: 'devices/a1/gone' } })).toBeUndefined()
  expect(reason({ protocolVersion: 5 })).toBe('protocol-version')
  expect(reason({ clientId: '', clean: false })).toBe('client-id')
  expect(reason({ clientId: 'x'.repeat(129) })).toBe('client-id')
  expect(reason({ will: { topic: 'devices/a2/gone' } })).toBe('will-topic')
  expect(reason({ will: { topic: 'devices/a1/+' } })).toBe('will-topic')
  expect(reason({ will: { topic: '' } })).toBe('will-topic')
})
