import { expect, test } from 'vitest'
import type { Publish, Publisher, Verdict } from '../../../edge/admission/ingest.ts'
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
    hold({ topic, payload }: Publish) {
      asked.push(`held ${topic} ${payload.length}`)
      return {
        grow: (bytes: number) => void asked.push(`grown by ${bytes}`),
        release: () => void asked.push('released'),
      }
    },
  } as Connection
  const publishing = new Publishing({
    ingest: {
      async publish({ deviceId, held }: Publisher) {
        asked.push(`ingest ${deviceId}`)
        held?.grow(100)
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
    async retain(_clientId, { topic }) {
      asked.push(`retains ${topic}`)
    },
  })
  return { publishing, asked, connection }
}

test('a publish goes straight to ingest, and counts as unanswered, with what is made of it, until it is answered (G7)', async () => {
  const { publishing, asked, connection } = ways()
  const sent = packet(1)
  expect(await publishing.publish(session, connection, sent)).toBe('acknowledge')
  expect(asked).toEqual([`held ${sent.topic} 4`, 'ingest a1', 'grown by 100', 'released'])
  expect(sent.dup).toBe(false)
})

test('a QoS 2 publish is taken once, and counts as unanswered while it waits for its turn (G7)', async () => {
  const { publishing, asked, connection } = ways()
  const sent = packet(2)
  await publishing.publish(session, connection, sent)
  expect(asked).toEqual([`held ${sent.topic} 4`, 'once', 'ingest a1', 'grown by 100', 'released'])
  expect(sent.dup).toBe(false)
})

test('a QoS 2 publish that is refused counts no more', async () => {
  const { publishing, asked, connection } = ways(() => Promise.reject(new Error('too many')))
  const sent = packet(2)
  await expect(publishing.publish(session, connection, sent)).rejects.toThrow('too many')
  expect(asked).toEqual([`held ${sent.topic} 4`, 'once', 'released'])
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
    expect(asked.filter((what) => /retains|ingest|released/.test(what)).slice(0, 2)).toEqual([
      'ingest a1',
      'retains devices/a1/events/com.acme.note',
    ])
    const repeated = ways(async () => 'acknowledge')
    const again = { ...packet(2), retain: true }
    await repeated.publishing.publish(session, repeated.connection, again)
    expect(repeated.asked).toEqual([`held ${again.topic} 4`, 'once', 'released'])
  },
)
