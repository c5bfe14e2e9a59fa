import { expect, test } from 'vitest'
import type { Publisher, Verdict } from '../../../edge/admission/ingest.ts'
import type { Connection } from '../../../edge/mqtt/connections.ts'
import { type PublishedPacket, Publishing } from '../../../edge/mqtt/publishing.ts'

const session = { id: 'a1/x' }
const packet = (qos: 0 | 1 | 2): PublishedPacket => ({
  topic: 'devices/a1/events/com.acme.note',
  payload: '1234',
  qos,
  retain: false,
  dup: true,
  messageId: 7,
})

interface Ways {
  publishing: Publishing
  /** In order: who was asked, and what the connection was told. */
  asked: string[]
  connection: Connection
}

function ways(take: (admit: () => Promise<Verdict>) => Promise<Verdict> = (admit) => admit()): Ways {
  const asked: string[] = []
  const connection = {
    deviceId: 'a1',
    signal: new AbortController().signal,
    began: (bytes: number) => void asked.push(`began ${bytes}`),
    ended: (bytes: number) => void asked.push(`ended ${bytes}`),
  } as Connection
  const publishing = new Publishing({
    ingest: {
      async publish({ deviceId, pressure }: Publisher) {
        asked.push(`ingest ${deviceId}${pressure ? ', which counts' : ''}`)
        return 'acknowledge'
      },
    },
    wills: {
      async publish(clientId) {
        asked.push(`will of ${clientId}`)
        return 'acknowledge'
      },
    },
    unreleased: {
      take(_session, _message, admit) {
        asked.push('once')
        return take(admit)
      },
    },
    async retain({ topic }) {
      asked.push(`retains ${topic}`)
    },
  })
  return { publishing, asked, connection }
}

test('a publish goes straight to ingest, which counts it for its connection', async () => {
  const { publishing, asked, connection } = ways()
  const sent = packet(1)
  expect(await publishing.publish(session, connection, sent)).toBe('acknowledge')
  expect(asked).toEqual(['ingest a1, which counts'])
  expect(sent.dup).toBe(false)
})

test('a QoS 2 publish is taken once, and counts as unanswered while it waits for its turn (G7)', async () => {
  const { publishing, asked, connection } = ways()
  const sent = packet(2)
  await publishing.publish(session, connection, sent)
  expect(asked).toEqual(['began 4', 'once', 'ingest a1', 'ended 4'])
  expect(sent.dup).toBe(false)
})

test('a QoS 2 publish that is refused counts no more', async () => {
  const { publishing, asked, connection } = ways(() => Promise.reject(new Error('too many')))
  await expect(publishing.publish(session, connection, packet(2))).rejects.toThrow('too many')
  expect(asked).toEqual(['began 4', 'once', 'ended 4'])
})

test('of a connection that is over its will is taken, and nothing else', async () => {
  const { publishing, asked } = ways()
  const will = packet(1)
  expect(await publishing.publish({ ...session, will }, undefined, will)).toBe('acknowledge')
  expect(await publishing.publish({ ...session, will }, undefined, packet(1))).toBe('withdrawn')
  expect(asked).toEqual(['will of a1/x'])
})

test.for([0, 1, 2] as const)(
  'what is to be retained at QoS %i is so before its sender is answered, and only if it was taken',
  async (qos) => {
    const { publishing, asked, connection } = ways()
    await publishing.publish(session, connection, { ...packet(qos), retain: true })
    expect(asked.filter((what) => /retains|ingest|ended/.test(what)).slice(0, 2)).toEqual([
      qos === 2 ? 'ingest a1' : 'ingest a1, which counts',
      'retains devices/a1/events/com.acme.note',
    ])
    const repeated = ways(async () => 'acknowledge')
    await repeated.publishing.publish(session, repeated.connection, { ...packet(2), retain: true })
    expect(repeated.asked).toEqual(['began 4', 'once', 'ended 4'])
  },
)
