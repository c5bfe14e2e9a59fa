import { expect, test } from 'vitest'
import { useTestBrokers } from '../../support/edge/test-broker.ts'

const { pki, start } = useTestBrokers()
const climate = 'devices/a1/events/com.acme.note'

test('who connects more often than it may is refused with CONNACK 3, and told by device; others are not (G7)', async () => {
  const { connect, seen, when } = await start({ options: { ratesOf: () => ({ connectsPerSecond: 0.01 }) } })
  const tls = await pki.device('a1')
  const first = await connect(tls)
  await expect(connect(tls)).rejects.toThrow(/unavailable/i)
  expect(first.connected).toBe(true)
  await connect(await pki.device('a2'))
  await when(({ refused }) => refused.length > 0)
  expect(seen.refused).toEqual(['connects-rate'])
  expect(seen.logs.filter(({ reason }) => reason === 'connects-rate')).toMatchObject([{ device: 'a1' }])
})

test('who publishes more than it may is read later, and loses nothing (G7)', async () => {
  const { connect, outbox, seen } = await start({ options: { ratesOf: () => ({ packetsPerSecond: 40 }) } })
  const client = await connect(await pki.device('a1'))
  const payloads = Array.from({ length: 60 }, (_, index) => JSON.stringify({ index }))
  await Promise.all(payloads.map((payload) => client.publishAsync(climate, payload, { qos: 1 })))
  expect(outbox.stored).toHaveLength(60)
  expect(client.connected).toBe(true)
  expect(seen.logs.filter(({ msg }) => String(msg).includes('over its rate'))).toMatchObject([
    { device: 'a1' },
  ])
})
