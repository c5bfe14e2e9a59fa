import { expect, test } from 'vitest'
import type { Admission, Submission } from '../../../edge/outbox/outbox.ts'
import { pingreq, publish, subscribe } from '../../support/edge/mqtt-bytes.ts'
import { rawConnection } from '../../support/edge/raw-connection.ts'
import { useTestBrokers } from '../../support/edge/test-broker.ts'
import { createFakeOutbox } from '../../support/fakes/outbox.ts'

const { pki, start } = useTestBrokers()
const topic = 'devices/a1/events/com.acme.note'
const state = 'devices/a1/state'
const event = (id: string): string => JSON.stringify({ specversion: '1.0', id, data: { value: 1 } })
const idOf = (puback: Buffer): number => puback.readUInt16BE(2)

test('publishes of both ways are acknowledged in the order in which they came [MQTT-4.6.0-2], and none before it is durable (G1)', async () => {
  const outbox = createFakeOutbox()
  const { port } = await start({ outbox })
  const raw = await rawConnection({ port, tls: await pki.device('a1') })
  outbox.shut()
  const retained = publish(topic, event('e3'), 1, 13, 1)
  raw.write(
    Buffer.concat([
      publish(topic, event('e1'), 1, 11),
      publish(state, 'x', 1, 12),
      retained,
      publish(topic, event('e4'), 1, 14),
      publish(state, 'x', 1, 15),
      publish(topic, event('e6'), 1, 16),
    ]),
  )
  await outbox.untilWaiting(4)
  raw.write(pingreq)
  await raw.until(0xd0)
  expect(raw.got(0x40)).toBe(0)
  outbox.open()
  const order: number[] = []
  while (order.length < 6) order.push(idOf(await raw.until(0x40)))
  expect(order).toEqual([11, 12, 13, 14, 15, 16])
  expect(outbox.stored.map(({ candidate }) => candidate.id)).toEqual(['e1', 'e3', 'e4', 'e6'])
  raw.end()
})

test('whoever subscribes while events come in is sent each that is acknowledged after its SUBACK', async () => {
  const broker = await start()
  const raw = await rawConnection({ port: broker.port, tls: await pki.device('a1') })
  const reader = await rawConnection({ port: broker.port, tls: await pki.device('a1'), clientId: 'reader' })
  raw.write(publish(topic, event('before'), 1, 1))
  await raw.until(0x40)
  reader.write(subscribe(1, [topic, 0]))
  await reader.until(0x90)
  raw.write(Buffer.concat([publish(topic, event('one'), 1, 2), publish(topic, event('two'), 1, 3)]))
  const got = [await reader.until(0x30), await reader.until(0x30)].map((packet) => packet.toString())
  expect(got[0]).toContain('"one"')
  expect(got[1]).toContain('"two"')
  expect([idOf(await raw.until(0x40)), idOf(await raw.until(0x40))]).toEqual([2, 3])
  expect(reader.got(0x30)).toBe(0)
  raw.end()
  reader.end()
})

test('what is published for a session that is away is kept for it, whoever publishes it', async () => {
  const broker = await start()
  const kept = { port: broker.port, tls: await pki.device('a1'), clientId: 'away', clean: false }
  const before = await rawConnection(kept)
  before.write(subscribe(1, [topic, 1]))
  await before.until(0x90)
  before.end()
  await before.over
  const raw = await rawConnection({ port: broker.port, tls: await pki.device('a1') })
  raw.write(publish(topic, event('kept'), 1, 1))
  await raw.until(0x40)
  const back = await rawConnection(kept)
  expect((await back.until(0x32)).toString()).toContain('"kept"')
  back.end()
  raw.end()
})

test('publishes that come with the CONNECT are not overtaken by those that come later (G6)', async () => {
  const broker = await start()
  const raw = await rawConnection({
    port: broker.port,
    tls: await pki.device('a1'),
    follow: ['c0', 'c1', 'c2'].map((id, index) => publish(topic, event(id), 1, 1 + index)),
  })
  for (let index = 3; index < 40; index += 1) raw.write(publish(topic, event(`c${index}`), 1, 1 + index))
  for (let index = 0; index < 40; index += 1) expect(idOf(await raw.until(0x40))).toBe(index + 1)
  expect(broker.outbox.stored.map(({ candidate }) => candidate.id)).toEqual(
    Array.from({ length: 40 }, (_, index) => `c${index}`),
  )
  raw.end()
})

test('an outbox that takes no more ends the connection, and nothing behind is acknowledged (G1)', async () => {
  const outbox = createFakeOutbox()
  const limited = Object.assign(Object.create(outbox) as typeof outbox, {
    append(submission: Submission, signal?: AbortSignal): Promise<Admission> {
      if (submission.candidate.id === 'e3') return Promise.reject(new Error('no room'))
      return outbox.append(submission, signal)
    },
  })
  const { port } = await start({ outbox: limited })
  const raw = await rawConnection({ port, tls: await pki.device('a1') })
  raw.write(Buffer.concat([1, 2, 3, 4].map((index) => publish(topic, event(`e${index}`), 1, index))))
  await raw.over
  expect([1, 2]).toEqual(expect.arrayContaining(raw.all(0x40).map(idOf)))
})
