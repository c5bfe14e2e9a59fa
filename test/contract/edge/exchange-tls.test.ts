import { readFileSync } from 'node:fs'
import { Connection } from 'rabbitmq-client'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Outcome } from '../../../edge/uplink/exchange.ts'
import { harmless, openMiddle } from '../../proof/middle.ts'
import { watchQueue } from '../../proof/witness.ts'
import { createVhost } from '../../support/servers.ts'
import { createTestPki, type TestPki } from '../../support/edge/test-broker.ts'
import { testUplink } from '../../support/edge/test-uplink.ts'

const exchange = 'tidegate.events'
/** Some 180 events: more than one buffer of a TLS socket, 16 KiB in Node 20 and 64 KiB from Node 22, and less than the burst. */
const bytesLetThrough = 100_000
const burst = 500

let pki: TestPki
beforeAll(async () => {
  pki = await createTestPki()
})
afterAll(() => pki.close())

/** The case by which it was found that the client numbers publishes in another order than it writes them. */
test('tells of no event as routed that RabbitMQ has not got (G3)', async () => {
  const brokerUrl = await createVhost()
  const admin = new Connection(brokerUrl)
  await admin.exchangeDeclare({ exchange, type: 'topic', durable: true })
  await admin.queueDeclare({ queue: 'all', durable: true, arguments: { 'x-queue-type': 'quorum' } })
  await admin.queueBind({ queue: 'all', exchange, routingKey: '#' })
  await admin.close()
  const { edge, caFile } = pki
  const tls = {
    ca: readFileSync(caFile),
    cert: readFileSync(edge.certFile),
    key: readFileSync(edge.keyFile),
  }
  const witness = await watchQueue(brokerUrl, 'all')
  const middle = await openMiddle(brokerUrl, tls)
  const uplink = testUplink({
    url: middle.url,
    tls: { current: () => tls },
    exchange,
  })
  const session = await uplink.connect(new AbortController().signal)
  const outcomes: Outcome[] = []
  const some = new Promise<void>((resolve) => {
    session.onOutcomes((more) => {
      outcomes.push(...more)
      if (outcomes.length > 20) resolve()
    })
  })

  // Only so much passes to the broker, and all of its answers come through, until the link is cut.
  const swallowing = { bytes: bytesLetThrough, ending: 'swallow', lingerMs: 1000 } as const
  middle.arm({ ...harmless, toBroker: { ...harmless.toBroker, ...swallowing } })
  for (let position = 1; position <= burst; position++) {
    const id = `e${position}`
    session.publish([
      {
        position,
        sequence: position,
        lane: 'normal',
        deviceId: `device-${position % 20}`,
        type: 'com.acme.climate',
        id,
        text: JSON.stringify({ id, data: 'x'.repeat(400) }),
        recordedAtMs: 1_700_000_000_000,
      },
    ])
  }
  await some
  await session.lost
  const held = await witness.held()
  await uplink.close()
  await middle.close()
  await witness.close()
  const routed = outcomes.filter(({ kind }) => kind === 'routed').map(({ shipment }) => shipment[0].id)
  expect(routed.length).toBeGreaterThan(20)
  expect(routed.filter((id) => !held.has(id))).toEqual([])
}, 30_000)
