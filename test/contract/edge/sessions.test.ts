import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { Level } from 'level'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { silentSessionsObserver } from '../../../edge/sessions/observer.ts'
import type { RetainedMessage } from '../../../edge/sessions/retained-level.ts'
import type { Sessions } from '../../../edge/sessions/sessions-level.ts'
import { openSessions } from '../../../edge/sessions/open-level.ts'
import { systemClock } from '../../../src/clock.ts'
import { covers } from '../../../edge/admission/routes/topics.ts'
import { codeOf, messageOf } from '../../../src/errors.ts'
import { holdWrites } from '../../support/edge/held-writes.ts'

let folder: string
let sessions: Sessions
let notKept: string[]
let counter = 0

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidegate-sessions-'))
  notKept = []
  sessions = await open()
})
afterEach(async () => {
  await sessions.close()
  await rm(folder, { recursive: true })
})

/** Room for two messages of 3000 bytes. */
async function open(): Promise<Sessions> {
  const opened = await openSessions({
    folder: join(folder, 'sessions'),
    limits: {
      queuedMax: 100,
      subscriptionsPerDeviceMax: 100,
      retainedMax: 100,
      retainedPerDeviceMax: 100,
      bytesPerDeviceMax: 16_000,
      unreleasedPerDeviceMax: 3,
    },
    observer: { ...silentSessionsObserver, notKept: (what) => notKept.push(what) },
    clock: systemClock,
    log: pino({ level: 'silent' }),
    deviceOf: (clientId) => clientId.split('/')[0] ?? '',
    isBridge: () => false,
    random: Math.random,
  })
  await opened.setup({ id: 'broker' })
  return opened
}

const topic = 'devices/a1/cmd'
const payload = Buffer.alloc(3000, 'x')

const retain = (size: number): Promise<void> =>
  sessions.retained.store({ topic, payload: Buffer.alloc(size, 'x') })
const retained = (filter: string): Promise<RetainedMessage[]> =>
  Readable.from(sessions.retained.read(filter)).toArray()

async function enqueue(...clientIds: string[]) {
  const packet = { cmd: 'publish', brokerId: 'broker', brokerCounter: ++counter, topic, payload, qos: 2 }
  const subscriptions = clientIds.map((clientId) => ({ clientId, topic, qos: 2 }))
  await sessions.outgoingEnqueueCombi(subscriptions, packet)
  return packet
}

test('what is kept for the sessions of a device is bounded in bytes, for all of them together (G7)', async () => {
  await enqueue('a1/x', 'a1/y')
  expect(notKept).toEqual([])
  await enqueue('a1/x', 'a2/x')
  expect(notKept).toEqual(['queued'])
  await sessions.close()
  sessions = await open()
  await enqueue('a1/y', 'a2/x')
  expect(notKept).toEqual(['queued', 'queued'])
})

test('what a session has acknowledged makes room again, once, at QoS 1 and 2', async () => {
  const client = { id: 'a1/x' }
  await enqueue('a1/y')
  for (let messageId = 1; messageId <= 20; messageId += 1) {
    const packet = await enqueue(client.id)
    await sessions.outgoingUpdate(client, { ...packet, messageId })
    if (messageId % 2 === 0) {
      const released = (): Promise<void> => sessions.outgoingUpdate(client, { cmd: 'pubrel', messageId })
      await Promise.all([released(), released()])
    }
    const acknowledged = (): Promise<unknown> => sessions.outgoingClearMessageId(client, { messageId })
    await Promise.all([acknowledged(), acknowledged()])
  }
  expect(notKept).toEqual([])
  for (let index = 0; index < 2; index += 1) await enqueue(client.id)
  expect(notKept).toEqual(['queued'])
})

test('a subscription is sent what is retained on the topics it matches, and nothing beside its branch is read', async () => {
  const topics = [
    'devices/a1',
    'devices/a1/r',
    'devices/a1/r/1',
    'devices/a10',
    'devices/a2/r',
    'devices',
    '/a1',
    '$own/x',
  ]
  for (const one of topics) await sessions.retained.store({ topic: one, payload: Buffer.from('x') })
  const read = vi.spyOn(Level.prototype, 'keys')
  const ranges: [string, string?][] = [
    ['#', 'retained:'],
    ['+/+', 'retained:'],
    ['/+', 'retained:/'],
    ['devices/#', 'retained:devices/'],
    ['devices/+', 'retained:devices/'],
    ['devices/+/r', 'retained:devices/'],
    ['devices/+/#', 'retained:devices/'],
    ['devices/a1/#', 'retained:devices/a1/'],
    ['devices/a1/r'],
    ['devices/none'],
    ['$own/#', 'retained:$own/'],
  ]
  for (const [filter, from] of ranges) {
    read.mockClear()
    const sent = await retained(filter)
    const matched = topics.filter((one) => covers(filter, one))
    expect(sent.map((packet) => packet.topic).toSorted(), filter).toEqual(matched.toSorted())
    expect(read.mock.calls.map(([range]) => range?.gte)).toEqual(from === undefined ? [] : [from])
  }
  read.mockRestore()
})

const store = (name: string, text: string): Promise<void> =>
  sessions.retained.store({ topic: `devices/a1/${name}`, payload: Buffer.from(text) })

test('a subscription that is read slowly is given what is retained when its turn comes, and not what was', async () => {
  for (const name of ['1', '2', '3', '4']) await store(name, 'old')
  const given: string[] = []
  for await (const { topic: on, payload } of sessions.retained.read('devices/a1/+')) {
    if (given.length === 0) {
      await store('2', 'new')
      await store('3', '')
    }
    given.push(`${on} ${payload.toString()}`)
  }
  expect(given).toEqual(['devices/a1/1 old', 'devices/a1/2 new', 'devices/a1/4 old'])
})

async function keys(): Promise<string[]> {
  await sessions.close()
  const records = new Level<string, Buffer>(join(folder, 'sessions'), { valueEncoding: 'buffer' })
  const all = await records.keys().all()
  await records.close()
  sessions = await open()
  return all
}

test('a message that two connections of a session send at once is kept under one packet ID', async () => {
  const packet = await enqueue('a1/x')
  const send = (messageId: number): Promise<void> =>
    sessions.outgoingUpdate({ id: 'a1/x' }, { ...packet, messageId })
  await Promise.all([send(7), send(8), send(9)])
  const after = (await keys()).filter((key) => key.startsWith('outgoing-id:'))
  expect(after).toEqual(['outgoing-id:a1%2Fx:0000000000000009'])
})

test('a message keeps the packet ID under which a session was sent it, although an older connection comes to it later', async () => {
  const packet = await enqueue('a1/x')
  await sessions.outgoingUpdate({ id: 'a1/x', closed: false }, { ...packet, messageId: 7 })
  await sessions.outgoingUpdate({ id: 'a1/x', closed: true }, { ...packet, messageId: 8 })
  await sessions.outgoingClearMessageId({ id: 'a1/x' }, { messageId: 7 })
  expect(await keys()).toEqual([])
})

test('a packet ID of no message, which a kill can leave, is removed at the next start', async () => {
  const packet = await enqueue('a1/x')
  await sessions.outgoingUpdate({ id: 'a1/x' }, { ...packet, messageId: 7 })
  const before = await keys()
  await sessions.close()
  const records = new Level<string, Buffer>(join(folder, 'sessions'), { valueEncoding: 'buffer' })
  await records.put('outgoing-id:a1%2Fx:0000000000000008', odd('messageId'))
  await records.close()
  sessions = await open()
  expect(await keys()).toEqual(before)
})

test('a session whose records are slow to be read holds up no other', async () => {
  const slow = await enqueue('a1/slow')
  const other = await enqueue('a2/other')
  const gate = new EventTarget()
  const opened = once(gate, 'open')
  const read: { get: (...given: unknown[]) => Promise<unknown> } = Level.prototype
  const { get } = read
  const held = vi.spyOn(read, 'get').mockImplementation(async function (this: unknown, ...given: unknown[]) {
    if (String(given[0]).includes('slow')) await opened
    return await Reflect.apply(get, this, given)
  })
  const first = sessions.outgoingUpdate({ id: 'a1/slow' }, { ...slow, messageId: 1 })
  await sessions.outgoingUpdate({ id: 'a2/other' }, { ...other, messageId: 1 })
  gate.dispatchEvent(new Event('open'))
  await first
  held.mockRestore()
  expect((await keys()).filter((key) => key.startsWith('outgoing-id:'))).toHaveLength(2)
})

test('a retained message for which there is no room takes the one before it away (G7)', async () => {
  await retain(10_000)
  await retain(15_000)
  expect(notKept).toEqual([])
  await retain(16_000)
  expect(notKept).toEqual(['retained'])
  expect(await retained('#')).toEqual([])
  await retain(15_000)
  expect(await retained('#')).toHaveLength(1)
})

/** In MessagePack: what has 7 for this field. */
function odd(field: string): Buffer {
  return Buffer.from([0x81, 0xa0 | field.length, ...Buffer.from(field), 0x07])
}

test('a record that is not what it should be is taken out, and keeps nobody from starting', async () => {
  await enqueue('a1/x')
  await sessions.close()
  const path = join(folder, 'sessions')
  let records = new Level<string, Buffer>(path, { valueEncoding: 'buffer' })
  const before = await records.keys().all()
  await records.batch([
    { type: 'put', key: 'outgoing:a1%2Fx:broker:0000000000000998', value: odd('topic') },
    { type: 'put', key: 'outgoing:a1%2Fx:broker:0000000000000999', value: odd('payload') },
    { type: 'put', key: 'retained:devices/a1/%', value: odd('payload') },
    { type: 'put', key: 'incoming:%:0000000000000001', value: odd('messageId') },
  ])
  await records.close()
  sessions = await open()
  await sessions.close()
  records = new Level<string, Buffer>(path, { valueEncoding: 'buffer' })
  expect(await records.keys().all()).toEqual(before)
  await records.close()
  sessions = await open()
})

test('of a QoS 2 message that was taken only that is kept, and across a restart it counts until it is released', async () => {
  const take = (clientId: string, messageId: number): Promise<string> =>
    sessions.unreleased
      .take({ id: clientId }, { topic, payload, retain: false, messageId }, async () => {
        taken.push(`${clientId} ${messageId}`)
        return 'acknowledge'
      })
      .catch(codeOf)
  const taken: string[] = []
  await take('a1/x', 7)
  await sessions.close()
  const records = new Level<string, Buffer>(join(folder, 'sessions'), { valueEncoding: 'buffer' })
  for await (const [key, value] of records.iterator()) expect(key.length + value.length).toBeLessThan(512)
  await records.close()
  sessions = await open()
  await take('a1/x', 7)
  await take('a1/y', 7)
  await take('a1/z', 7)
  expect(await take('a1/z', 8)).toBe('UNRELEASED_MAX')
  expect(taken).toEqual(['a1/x 7', 'a1/y 7', 'a1/z 7'])
  await sessions.incomingDelPacket({ id: 'a1/x' }, { messageId: 7 })
  await take('a1/z', 8)
  await sessions.cleanIncoming({ id: 'a1/z' })
  for (const messageId of [1, 2, 3]) await take('a1/y', messageId)
  expect(taken.slice(3)).toEqual(['a1/z 8', 'a1/y 1', 'a1/y 2'])
})

test('a QoS 2 message that could not be retained is retained when it is sent again, and is no second event [MQTT-4.3.3-2]', async () => {
  const done: string[] = []
  let full = true
  const take = (): Promise<string> =>
    sessions.unreleased
      .take(
        { id: 'a1/x' },
        { topic, payload, retain: true, messageId: 7 },
        async () => {
          done.push('event')
          return 'acknowledge'
        },
        async () => {
          if (full) throw new Error('no room')
          done.push('retained')
        },
      )
      .catch(messageOf)
  expect(await take()).toBe('no room')
  full = false
  expect([await take(), await take()]).toEqual(['acknowledge', 'acknowledge'])
  expect(done).toEqual(['event', 'retained'])
})

test('what a session was sent in another way is not queued any more, unless it is on its way already', async () => {
  const [one, sent] = [await enqueue('a1/x'), await enqueue('a1/x')]
  await sessions.outgoingUpdate({ id: 'a1/x' }, { ...sent, messageId: 7 })
  for (const packet of [one, sent, one]) await sessions.queue.discard('a1/x', packet)
  expect((await keys()).filter((key) => key.startsWith('outgoing:'))).toHaveLength(1)
  await enqueue('a1/x')
  expect(notKept).toEqual([])
})

test('a session that a former version kept is there after its last UNSUBSCRIBE and a restart [MQTT-3.2.2-2]', async () => {
  await sessions.subscribe('a1/x', [{ topic, qos: 1 }])
  await sessions.unsubscribe('a1/x', [topic])
  await sessions.close()
  sessions = await open()
  expect(await sessions.subscriptionsByClient({ id: 'a1/x' })).toHaveLength(1)
})

test('a clean session ends what was queued, although its connection is over at once [MQTT-3.1.2-6] (G7)', async () => {
  await enqueue('a1/x')
  const packet = await enqueue('a1/x')
  await sessions.outgoingUpdate({ id: 'a1/x' }, { ...packet, messageId: 7 })
  await sessions.cleanSubscriptions({ id: 'a1/x', clean: true, closed: true })
  expect(await keys()).toEqual([])
  await enqueue('a1/x', 'a1/y')
  expect(notKept).toEqual([])
})

test('a subscription whose record is written while its session is ended is not there after a restart either [MQTT-3.1.2-6]', async () => {
  const { begun, open: release } = holdWrites('subscriptions:')
  const subscribed = sessions.subscribe('a1/x', [{ topic, qos: 1 }])
  await begun
  const ended = sessions.cleanSubscriptions({ id: 'a1/x' })
  // What it takes to write, if it does not wait.
  for (let read = 0; read < 20; read += 1) await retained(topic)
  release()
  await Promise.all([subscribed, ended])
  vi.restoreAllMocks()
  await sessions.close()
  sessions = await open()
  expect(sessions.kept.has('a1/x')).toBe(false)
})
