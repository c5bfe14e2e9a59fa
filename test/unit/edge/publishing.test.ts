import { expect, test, vi } from 'vitest'
import type { Message } from '../../../edge/admission/admission.ts'
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

const notAsked = (): Promise<Verdict> => Promise.reject(new Error('not asked'))
const once = (admit: () => Promise<Verdict>): Promise<Verdict> => admit()

function ways(take = once): Ways {
  const asked: string[] = []
  const connection = {
    deviceId: 'a1',
    signal: new AbortController().signal,
    hold([{ topic, payload }]: [Publish]) {
      asked.push(`held ${topic} ${payload.length}`)
      return {
        grow: (bytes: number) => void asked.push(`grown by ${bytes}`),
        answered: (count: number) => void asked.push(`answered ${count}`),
        release: () => void asked.push('released'),
      }
    },
    noteFanOut() {},
  } as unknown as Connection
  const publishing = new Publishing({
    ingest: {
      async publish({ deviceId, held }: Publisher) {
        asked.push(`ingest ${deviceId}`)
        held?.grow(100)
        return 'acknowledge'
      },
      takeAll: notAsked,
    },
    wills: {
      async publish(clientId) {
        asked.push(`will of ${clientId}`)
        return 'acknowledge'
      },
    },
    unreleased: {
      async take(_session, _message, admit, retain) {
        asked.push('once')
        const verdict = await take(admit)
        if (retain && take === once) await retain()
        return verdict
      },
    },
    number: ({ messageId }) => void asked.push(`numbers ${messageId}`),
    costOf: () => 0,
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
  expect(asked).toEqual([`held ${sent.topic} 4`, 'ingest a1', 'grown by 100', 'numbers 7', 'released'])
  expect(sent.dup).toBe(false)
})

test('a QoS 2 publish is taken once, and counts as unanswered while it waits for its turn (G7)', async () => {
  const { publishing, asked, connection } = ways()
  const sent = packet(2)
  await publishing.publish(session, connection, sent)
  expect(asked).toEqual([
    `held ${sent.topic} 4`,
    'once',
    'ingest a1',
    'grown by 100',
    'numbers 7',
    'released',
  ])
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
  expect(asked).toEqual(['will of a1/x', 'numbers 7'])
})

test.for([0, 1, 2] as const)(
  'what is to be retained at QoS %i is so before its sender is answered, and only if it was taken',
  async (qos) => {
    const { publishing, asked, connection } = ways()
    await publishing.publish(session, connection, { ...packet(qos), retain: true })
    expect(asked.filter((what) => /retains|ingest|released/.test(what))).toEqual([
      'ingest a1',
      'retains devices/a1/events/com.acme.note',
      'released',
    ])
    const repeated = ways(async () => 'acknowledge')
    const again = { ...packet(2), retain: true }
    await repeated.publishing.publish(session, repeated.connection, again)
    expect(repeated.asked).toEqual([`held ${again.topic} 4`, 'once', 'released'])
  },
)

test('an event that waits for room holds up no publish of another QoS, but what is to be retained behind it (G7)', async () => {
  const admitted: (() => void)[] = []
  const { connection } = ways()
  const publishing = new Publishing({
    ingest: {
      publish: (_publisher, { qos }) =>
        qos === 0
          ? Promise.resolve('acknowledge')
          : new Promise((resolve) => admitted.push(() => resolve('acknowledge'))),
      takeAll: notAsked,
    },
    wills: { publish: async () => 'acknowledge' },
    unreleased: { take: (_session, _message, admit) => admit() },
    number() {},
    costOf: () => 0,
    async retain() {},
  })
  const done: string[] = []
  const publish = (name: string, qos: 0 | 1, retain: boolean): Promise<unknown> =>
    publishing.publish(session, connection, { ...packet(qos), retain }).then(() => done.push(name))
  const all = [publish('event', 1, true), publish('local', 0, false), publish('retained', 0, true)]
  await vi.waitFor(() => expect(done).toEqual(['local']))
  admitted[0]?.()
  await Promise.all(all)
  expect(done).toEqual(['local', 'event', 'retained'])
})

test.for([0, 1, 2] as const)(
  'what a connection publishes at QoS %i is admitted together, and numbered, retained and answered as it came [MQTT-4.6.0-2, MQTT-4.6.0-5, MQTT-4.6.0-6]',
  async (qos) => {
    const done: string[] = []
    const admitted = new Map<number | undefined, () => void>()
    const publishing = new Publishing({
      ingest: {
        publish: (_publisher, given) =>
          new Promise((resolve) =>
            admitted.set((given as PublishedPacket).messageId, () => resolve('acknowledge')),
          ),
        takeAll: notAsked,
      },
      wills: { publish: async () => 'acknowledge' },
      unreleased: {
        async take(_session, _message, admit, retain) {
          const verdict = await admit()
          await retain?.()
          return verdict
        },
      },
      number: ({ messageId }) => void done.push(`numbers ${messageId}`),
      costOf: () => 0,
      async retain(_clientId, { messageId }) {
        await new Promise((resolve) => setImmediate(resolve))
        done.push(`retains ${messageId}`)
      },
    })
    const { connection } = ways()
    const publish = async (messageId: number, retain: boolean): Promise<void> => {
      await publishing.publish(session, connection, { ...packet(qos), messageId, retain })
      done.push(`answers ${messageId}`)
    }
    const all = [publish(1, true), publish(2, true), publish(3, false), publish(4, true)]
    await vi.waitFor(() => expect([...admitted.keys()]).toEqual([1, 2, 3, 4]))
    for (const messageId of [4, 3, 2, 1]) {
      admitted.get(messageId)?.()
      await new Promise((resolve) => setImmediate(resolve))
    }
    await Promise.all(all)
    const steps = (pattern: RegExp): string[] => done.filter((what) => pattern.test(what))
    expect(steps(/numbers|retains/)).toEqual([
      'numbers 1',
      'retains 1',
      'numbers 2',
      'retains 2',
      'numbers 3',
      'numbers 4',
      'retains 4',
    ])
    expect(steps(/answers/)).toEqual(['answers 1', 'answers 2', 'answers 3', 'answers 4'])
    expect(steps(/[24]/).at(-1)).toBe('answers 4')
    expect(done.indexOf('answers 2')).toBeGreaterThan(done.indexOf('retains 2'))
  },
)

test('a retained message of QoS 2 that was taken already is answered when those before it are [MQTT-4.6.0-5]', async () => {
  let admit: (() => void) | undefined
  const { connection } = ways()
  const publishing = new Publishing({
    ingest: {
      publish: () => new Promise((resolve) => (admit = () => resolve('acknowledge'))),
      takeAll: notAsked,
    },
    wills: { publish: async () => 'acknowledge' },
    unreleased: {
      take: (_session, { messageId }, first) => (messageId === 1 ? first() : Promise.resolve('acknowledge')),
    },
    number() {},
    costOf: () => 0,
    async retain() {},
  })
  const answered: number[] = []
  const all = [1, 2].map((messageId) =>
    publishing.publish(session, connection, { ...packet(2), messageId, retain: true }, () =>
      answered.push(messageId),
    ),
  )
  await new Promise((resolve) => setImmediate(resolve))
  expect(answered).toEqual([])
  admit?.()
  await Promise.all(all)
  expect(answered).toEqual([1, 2])
})

test('of those that come together each counts as unanswered until it is answered, and what they take until all are (G7)', async () => {
  const { asked, connection } = ways()
  const told: string[] = []
  const publishing = new Publishing({
    ingest: {
      publish: notAsked,
      async takeAll(_publisher, messages, answered) {
        told.push(`takes ${messages.length}`)
        answered(1)
        answered(2)
        return 'acknowledge'
      },
    },
    wills: { publish: async () => 'acknowledge' },
    unreleased: { take: (_session, _message, admit) => admit() },
    number() {},
    costOf: () => 0,
    async retain() {},
  })
  const match = {
    action: 'event',
    route: { topic: 'x', idPath: undefined, timePath: undefined, timeZone: undefined },
    type: 'x',
  } as const
  const message: Message = { deviceId: 'a1', topic: 'x', payload: Buffer.from('1'), qos: 1, match }
  await publishing.takeAll(connection, [message, message, message], async (count) => {
    asked.push(`writes ${count}`)
  })
  expect(told).toEqual(['takes 3'])
  expect(asked).toEqual(['held x 1', 'writes 1', 'answered 1', 'writes 2', 'answered 2', 'released'])
})
