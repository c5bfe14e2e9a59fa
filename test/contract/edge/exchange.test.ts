import { Connection } from 'rabbitmq-client'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Exchange, Outcome } from '../../../edge/uplink/exchange.ts'
import type { Queued } from '../../../edge/outbox/outbox.ts'
import { FakeExchange } from '../../support/fakes/exchange.ts'
import { createVhost } from '../../support/servers.ts'
import { testUplink } from '../../support/edge/test-uplink.ts'

const exchangeName = 'tidegate.events'

/** What a contract test needs of the far side, whichever it is. */
interface FarSide {
  exchange: Exchange
  bind(): Promise<void>
  cut(): Promise<void>
  /** IDs that the bound queue holds. */
  held(): Promise<string[]>
  close(): Promise<void>
}

async function realSide(): Promise<FarSide> {
  const url = await createVhost()
  const admin = new Connection(url)
  await admin.exchangeDeclare({ exchange: exchangeName, type: 'topic', durable: true })
  const exchange = exchangeAt(url)
  return {
    exchange,
    async bind() {
      await admin.queueDeclare({ queue: 'all', durable: true, arguments: { 'x-queue-type': 'quorum' } })
      await admin.queueBind({ queue: 'all', exchange: exchangeName, routingKey: '#' })
    },
    async cut() {
      await admin.exchangeDelete({ exchange: exchangeName })
    },
    async held() {
      const ids: string[] = []
      for (;;) {
        const message = await admin.basicGet({ queue: 'all', noAck: true })
        if (!message) return ids
        expect(message.durable).toBe(true)
        ids.push(String(message.messageId))
      }
    },
    async close() {
      await exchange.close()
      await admin.close()
    },
  }
}

function exchangeAt(url: string): Exchange {
  return testUplink({
    url,
    exchange: exchangeName,
  })
}

async function fakeSide(): Promise<FarSide> {
  const exchange = new FakeExchange()
  exchange.bound = false
  return {
    exchange,
    bind: async () => {
      exchange.bound = true
    },
    cut: async () => exchange.cut(),
    held: async () => exchange.routed.map(({ id }) => id),
    close: () => exchange.close(),
  }
}

function queued(position: number): Queued {
  const id = `e${position}`
  return {
    position,
    sequence: position,
    lane: 'normal',
    deviceId: `device-${position % 7}`,
    type: 'com.acme.climate',
    id,
    text: `{"id":"${id}"}`,
    recordedAtMs: 1_700_000_000_000,
  }
}

function collect(count: number): { listener: (outcomes: Outcome[]) => void; all: Promise<Outcome[]> } {
  const outcomes: Outcome[] = []
  let done!: (outcomes: Outcome[]) => void
  const all = new Promise<Outcome[]>((resolve) => {
    done = resolve
  })
  return {
    all,
    listener: (more) => {
      outcomes.push(...more)
      if (outcomes.length >= count) done(outcomes)
    },
  }
}

describe.each([
  ['RabbitMQ', realSide],
  ['the fake', fakeSide],
])('an exchange on %s', (_, makeSide) => {
  let side: FarSide
  let signal: AbortSignal
  beforeEach(async () => {
    side = await makeSide()
    signal = new AbortController().signal
  })
  afterEach(() => side.close())

  test('says routed only of what a queue holds, persistently', async () => {
    await side.bind()
    const session = await side.exchange.connect(signal)
    const { listener, all } = collect(300)
    session.onOutcomes(listener)
    for (let position = 1; position <= 300; position++) session.publish([queued(position)])
    expect((await all).every(({ kind }) => kind === 'routed')).toBe(true)
    expect(await side.held()).toHaveLength(300)
  })

  test('says refused of what no queue took, although the broker confirms it (G3)', async () => {
    const session = await side.exchange.connect(signal)
    const { listener, all } = collect(50)
    session.onOutcomes(listener)
    for (let position = 1; position <= 50; position++) session.publish([queued(position)])
    expect((await all).map((outcome) => (outcome.kind === 'refused' ? outcome.code : outcome.kind))).toEqual(
      Array.from({ length: 50 }, () => 'UNROUTABLE'),
    )
  })

  test('tells returns apart by event, though devices use the same ID or one too long for AMQP', async () => {
    const session = await side.exchange.connect(signal)
    const { listener, all } = collect(20)
    session.onOutcomes(listener)
    for (let position = 1; position <= 20; position++)
      session.publish([{ ...queued(position), id: position % 2 === 0 ? 'same' : 'ж'.repeat(128) }])
    expect((await all).map(({ kind }) => kind)).toEqual(Array.from({ length: 20 }, () => 'refused'))
  })

  test('ends the session when the far side goes, and tells why', async () => {
    await side.bind()
    const session = await side.exchange.connect(signal)
    await side.cut()
    // RabbitMQ tells of a deleted exchange only when it is used.
    session.publish([queued(1)])
    expect((await session.lost).code).toMatch(/./)
  })

  test('closes twice, and what is lost by closing is told once', async () => {
    const session = await side.exchange.connect(signal)
    await Promise.all([session.close(), session.close()])
    expect((await session.lost).code).toBe('CLOSED')
  })
})

describe('an exchange on RabbitMQ', () => {
  test('waits for the exchange to be declared instead of failing', async () => {
    const url = await createVhost()
    const exchange = exchangeAt(url)
    const connecting = exchange.connect(new AbortController().signal)
    const admin = new Connection(url)
    await admin.exchangeDeclare({ exchange: exchangeName, type: 'topic', durable: true })
    const session = await connecting
    expect(session.blocked).toBe(false)
    await exchange.close()
    await admin.close()
  })

  test('stops trying when it is told to stop', async () => {
    const exchange = exchangeAt('amqp://nobody:wrong@127.0.0.1:1')
    const stop = new AbortController()
    const connecting = exchange.connect(stop.signal)
    stop.abort()
    await expect(connecting).rejects.toThrow(/abort/i)
  })
})
