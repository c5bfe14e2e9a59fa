import { setImmediate as nextTurn, setTimeout as wait } from 'node:timers/promises'
import { Connection } from 'rabbitmq-client'
import type { Outcome, SessionEnd } from '../../edge/uplink/exchange.ts'
import type { Queued } from '../../edge/outbox/outbox.ts'
import { Packing } from '../../edge/uplink/packing.ts'
import { type Chance, chance } from '../simulation/plan/chance.ts'
import { anyPlan, harmless, openMiddle } from './middle.ts'
import type { CutsOptions, CutsResult } from './result.ts'
import { watchQueue } from './witness.ts'
import { testUplink } from '../support/edge/test-uplink.ts'

const exchange = 'tidegate.events'
const types = { taken: 'com.acme.taken', unwanted: 'com.acme.unwanted', refused: 'com.acme.refused' }
const rightFates: Readonly<Record<string, string>> = {
  [types.taken]: 'routed',
  [types.unwanted]: 'UNROUTABLE',
  [types.refused]: 'NACKED',
}
/** Nothing is told any more when this long has passed without a cut: the far side has answered all. */
const patienceMs = 10_000

/**
 * The promise of the edge (G3), against a link that cuts anywhere: what the exchange tells of as routed is in RabbitMQ; what
 * no queue wants and what a queue refuses is never told of as routed; and each event has one outcome at the most.
 */
export async function edgeCuts(options: CutsOptions): Promise<CutsResult> {
  const { brokerUrl, tls, seed, cuts } = options
  const admin = new Connection(brokerUrl)
  const quorum = { 'x-queue-type': 'quorum' } as const
  const full = { ...quorum, 'x-overflow': 'reject-publish', 'x-max-length': 1 } as const
  await admin.exchangeDeclare({ exchange, type: 'topic', durable: true })
  await admin.queueDeclare({ queue: 'taken', durable: true, arguments: quorum })
  await admin.queueBind({ queue: 'taken', exchange, routingKey: `*.${types.taken}` })
  await admin.queueDeclare({ queue: 'full', durable: true, arguments: full })
  await admin.queueBind({ queue: 'full', exchange, routingKey: `*.${types.refused}` })
  const filler = admin.createPublisher({ confirm: true, maxAttempts: 1 })
  // The bound takes hold a moment after it was reached.
  for (let filled = false; !filled;) {
    filled = await filler.send({ routingKey: 'full', durable: true }, 'filled').then(
      () => false,
      () => true,
    )
  }
  await filler.close()
  const witness = await watchQueue(brokerUrl, 'taken')
  const middle = await openMiddle(brokerUrl, tls)
  const result: CutsResult = { rounds: 0, cuts: 0, published: 0, told: 0, faults: [] }

  const uplink = testUplink({
    url: middle.url,
    tls: { current: () => tls },
    exchange,
    connectTimeoutMs: 1000,
    reconnect: { delayMsMin: 5, delayMsMax: 20 },
  })

  function suspect({ code }: SessionEnd): void {
    if (code === 'CONFIRM_MISMATCH') result.faults.push(`round ${result.rounds}: the counts differ`)
  }

  async function round(chance: Chance): Promise<void> {
    const events = burst(chance, `r${result.rounds}`)
    const eventsMax = chance.pick([1, 1, 3, 50])
    const shipments = new Packing({ eventsMax, bytesMax: 200_000, partitions: 4 }).pack(events)
    const bytes = events.reduce((sum, { text }) => sum + text.length + 200, 0)
    const plan = anyPlan(chance, { toBroker: Math.ceil(bytes * 1.2), toClient: events.length * 21 })
    // Now and then the greetings are cut too.
    const early = chance.one(0.1)
    middle.arm(early ? { ...plan, toBroker: { ...plan.toBroker, bytes: chance.whole(1, 3000) } } : harmless)
    const healed = early && setTimeout(() => middle.arm(harmless), 100)
    const session = await uplink.connect(new AbortController().signal)
    if (healed) clearTimeout(healed)
    const outcomes: Outcome[] = []
    const answered = new Promise<void>((resolve) => {
      session.onOutcomes((more) => {
        outcomes.push(...more)
        if (outcomes.length >= shipments.length) resolve()
      })
    })
    middle.arm(plan)
    const trickle = chance.one(0.2)
    for (const shipment of shipments) {
      session.publish(shipment)
      if (trickle && chance.one(0.1)) await nextTurn()
    }
    const waiting = new AbortController()
    await Promise.race([
      session.lost.then(suspect),
      answered,
      wait(patienceMs, undefined, { signal: waiting.signal }).catch(() => {}),
    ])
    waiting.abort()
    middle.arm(harmless)
    await session.close()
    await judge(events, outcomes)
  }

  async function judge(events: readonly Queued[], outcomes: readonly Outcome[]): Promise<void> {
    const held = await witness.held()
    const told = new Set<string>()
    const fault = (what: string): void => void result.faults.push(`round ${result.rounds}: ${what}`)
    for (const outcome of outcomes) {
      const said = outcome.kind === 'routed' ? 'routed' : outcome.code
      for (const { id, type } of outcome.shipment) {
        if (told.has(id)) fault(`${id} was told of twice`)
        told.add(id)
        if (said !== rightFates[type]) fault(`${id} of ${type} was told of as ${said}`)
        if (said === 'routed' && !held.has(id))
          fault(`${id} was told of as routed, and RabbitMQ never had it`)
      }
    }
    result.published += events.length
    result.told += told.size
    result.rounds += 1
  }

  try {
    while (middle.cuts < cuts && result.faults.length === 0) {
      await round(chance(seed, 'edge', result.rounds))
      options.onRound?.({ ...result, cuts: middle.cuts })
    }
    return { ...result, cuts: middle.cuts }
  } finally {
    await uplink.close()
    await middle.close()
    await witness.close()
    await admin.close()
  }
}

/** Bodies of 20 bytes to 128 KiB, with many about as long as Node's and TLS's buffers. */
export function bodyBytes(chance: Chance, scale: 'small' | 'buffer' | 'large'): number {
  if (scale === 'small') return chance.whole(20, 1500)
  if (scale === 'large') return chance.whole(60_000, 131_072)
  return Math.max(20, chance.pick([4096, 16_384, 32_768, 65_536]) + chance.whole(-700, 300))
}

function burst(chance: Chance, round: string): Queued[] {
  const scale = chance.pick(['small', 'small', 'small', 'buffer', 'large'] as const)
  const count = { small: chance.whole(5, 400), buffer: chance.whole(2, 40), large: chance.whole(2, 10) }[
    scale
  ]
  const others = chance.one(0.4)
  return Array.from({ length: count }, (_, index) => {
    const id = `${round}-${index}`
    const type = others ? chance.pick([types.taken, types.taken, types.unwanted, types.refused]) : types.taken
    return {
      position: index + 1,
      sequence: index + 1,
      lane: 'normal',
      deviceId: `device-${chance.whole(1, 20)}`,
      type,
      id,
      text: `{"id":"${id}","data":"${'x'.repeat(bodyBytes(chance, chance.one(0.1) ? 'small' : scale))}"}`,
      recordedAtMs: 1_700_000_000_000,
    }
  })
}
