import { setTimeout as wait } from 'node:timers/promises'
import { type AmqpConnection, connectAmqp } from '../../cloud/amqp/connection-rabbit.ts'
import { rabbitDeliveries } from '../../cloud/amqp/deliveries-rabbit.ts'
import { defineConsumer } from '../../cloud/pipeline/consumer.ts'
import { configured } from '../../cloud/pipeline/definition.ts'
import type { Siding } from '../../cloud/amqp/delivery.ts'
import { nothingReplayed } from '../../cloud/replays/replayed.ts'
import { noObserver } from '../../cloud/pipeline/observer.ts'
import { createPipeline } from '../../cloud/pipeline/pipeline.ts'
import { selfConsistent } from '../../cloud/gateways/provenance.ts'
import { noSchemas } from '../../src/schemas/registry.ts'
import { noUpcasts } from '../../src/schemas/upcast/chain.ts'
import { createReadAs } from '../../src/schemas/upcast/read-as.ts'
import { noSchemaCheck } from '../../cloud/reading/schema-check.ts'
import { rabbitSidings } from '../../cloud/amqp/sidings-rabbit.ts'
import { declareTopology } from '../../cloud/amqp/topology-rabbit.ts'
import { groupTopology } from '../../cloud/amqp/topology.ts'
import { systemClock } from '../../src/clock.ts'
import { codeOf, TidegateError } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { partitionQueue, rungName } from '../../src/contract/wire.ts'
import { type Chance, chance } from '../simulation/plan/chance.ts'
import { Ledger } from '../support/cloud/cloud-events.ts'
import { createFakeStorage, fakeDeadLetters, fakeParking } from '../support/fakes/storage.ts'
import { bodyBytes } from './edge-cuts.ts'
import { anyPlan, harmless, type Middle, openMiddle } from './middle.ts'
import type { CutsOptions, CutsResult } from './result.ts'
import { watchQueue, type Witness } from './witness.ts'

const group = 'cuts'
/** Longer than any run: what is on a rung stays there. */
const ladderMs = [86_400_000, 90_000_000]
const queue = partitionQueue(group, 0)
const rungs = ladderMs.map((delayMs) => rungName(group, delayMs))
const patienceMs = 10_000

interface Place {
  admin: AmqpConnection
  /** Of what consumes and of what publishes: both are cut, each for itself. */
  middles: { consume: Middle; publish: Middle }
  /** By rung. */
  asides: Witness[]
  cuts(): number
  connect(middle: Middle): Promise<AmqpConnection>
  close(): Promise<void>
}

async function openPlace({ brokerUrl, tls }: CutsOptions): Promise<Place> {
  const brokers = new Set<AmqpConnection>()
  const open = async (url: string): Promise<AmqpConnection> => {
    const broker = await connectAmqp({
      url,
      connectionName: 'cuts',
      log: silentLog,
      ...(url.startsWith('amqps:') && { tls }),
    })
    brokers.add(broker)
    return broker
  }
  const admin = await open(brokerUrl)
  await declareTopology(
    admin,
    groupTopology({ group, types: [], ordered: true, ladderMs, partitions: 1, mirror: false }),
  )
  const middles = {
    consume: await openMiddle(brokerUrl, tls),
    publish: await openMiddle(brokerUrl, tls),
  }
  const asides: Witness[] = []
  for (const rung of rungs) asides.push(await watchQueue(brokerUrl, rung))
  return {
    admin,
    middles,
    asides,
    cuts: () => middles.consume.cuts + middles.publish.cuts,
    connect: ({ url }) => open(url),
    async close() {
      await Promise.all([...brokers].map((broker) => broker.close()))
      for (const aside of asides) await aside.close()
      await middles.consume.close()
      await middles.publish.close()
    },
  }
}

/**
 * The promise of the sidings (G5), against a link that cuts anywhere: a letter whose sending resolved is on its rung.
 */
export async function sidingCuts(options: CutsOptions): Promise<CutsResult> {
  const place = await openPlace(options)
  const { middles, asides } = place
  const result: CutsResult = { rounds: 0, cuts: 0, published: 0, told: 0, faults: [] }

  async function round(chance: Chance): Promise<void> {
    middles.publish.arm(harmless)
    const broker = await place.connect(middles.publish)
    const sidings = rabbitSidings(broker, systemClock)
    const scale = chance.pick(['small', 'small', 'buffer', 'large'] as const)
    const count = { small: chance.whole(5, 300), buffer: chance.whole(2, 40), large: chance.whole(2, 10) }[
      scale
    ]
    const letters = Array.from({ length: count }, (_, index) => ({
      id: `r${result.rounds}-${index}`,
      bytes: bodyBytes(chance, scale),
      siding: chance.pick<Siding>(ladderMs.map((delayMs) => ({ group, queue, delayMs }))),
    }))
    // The first letter opens the channel; what is cut then is the traffic.
    if (chance.one(0.8))
      await sidings.send({ group, queue, delayMs: ladderMs[0] as number }, letterOf('first', 20))
    const bytes = letters.reduce((sum, letter) => sum + letter.bytes + 200, 0)
    middles.publish.arm(anyPlan(chance, { toBroker: Math.ceil(bytes * 1.2), toClient: count * 21 }))
    const patience = new AbortController()
    const proven: typeof letters = []
    const sending = letters.map((letter) =>
      sidings.send(letter.siding, letterOf(letter.id, letter.bytes)).then(
        () => proven.push(letter),
        (error: Error) => {
          if (codeOf(error.cause) === 'CONFIRM_MISMATCH')
            result.faults.push(`round ${result.rounds}: the counts differ`)
        },
      ),
    )
    await Promise.race([
      Promise.all(sending),
      wait(patienceMs, undefined, { signal: patience.signal }).catch(() => {}),
    ])
    patience.abort()
    middles.publish.arm(harmless)
    await sidings.close()
    await broker.close()
    const held = await Promise.all(asides.map((aside) => aside.held()))
    for (const { id, siding } of proven)
      if (held[ladderMs.indexOf(siding.delayMs)]?.has(id) !== true)
        result.faults.push(`round ${result.rounds}: ${id} was said to be on its rung, and is not`)
    result.published += count
    result.told += proven.length
    result.rounds += 1
  }

  try {
    while (place.cuts() < options.cuts && result.faults.length === 0) {
      await round(chance(options.seed, 'sidings', result.rounds))
      options.onRound?.({ ...result, cuts: place.cuts() })
    }
    return { ...result, cuts: place.cuts() }
  } finally {
    await place.close()
  }
}

function letterOf(id: string, bytes: number) {
  return {
    body: Buffer.alloc(bytes, 'x'),
    properties: { messageId: id },
    headers: { 'tidegate-attempt': 2 },
    barer: [],
  }
}

/**
 * The promise of the cloud (G5), against links that cut anywhere while it consumes and publishes: a delivery that was
 * acknowledged is committed, as an effect or as a dead letter, or on a rung.
 */
export async function cloudCuts(options: CutsOptions): Promise<CutsResult> {
  const place = await openPlace(options)
  const { admin, middles, asides } = place
  const ledger = new Ledger()
  const result: CutsResult = { rounds: 0, cuts: 0, published: 0, told: 0, faults: [] }
  const committed = new Set<string>()
  const aside = new Set<string>()
  /** Published, and not yet known to be committed or aside. */
  const open = new Set<string>()
  const channel = await admin.client.acquire()
  await channel.confirmSelect()

  /** One life of a cloud: connects, takes what there is, is cut off in the middle of it. */
  async function life(chance: Chance, plans: boolean): Promise<void> {
    const consuming = await place.connect(middles.consume)
    const publishing = await place.connect(middles.publish)
    const storage = createFakeStorage()
    const sidings = rabbitSidings(publishing, systemClock)
    let settled = 0
    const lived = new Promise<void>((resolve) => {
      consuming.client.on('error', () => resolve())
      publishing.client.on('error', () => resolve())
    })
    const pipeline = createPipeline({
      consumer: configured(consumer, { ladderMs, timeoutMs: 30_000 }),
      storage,
      replayedIn: () => nothingReplayed,
      sidings,
      letters: { lettersIn: fakeDeadLetters, full: () => undefined, mirror: () => {} },
      parkingIn: fakeParking,
      parking: { concurrency: 1, devicesMax: 1000, eventsMax: 1000, eventsMaxPerDevice: 1000 },
      provenance: selfConsistent,
      checkSchema: noSchemaCheck,
      readAs: createReadAs(noSchemas, noUpcasts),
      batchMax: 20,
      batchTimeTargetMs: 1000,
      lanes: 2,
      instance: 'cuts',
      clock: systemClock,
      random: Math.random,
      log: silentLog,
      observer: { ...noObserver, settled: () => void (settled += 1) },
      onFatal: (error) => {
        throw error
      },
    })
    const deliveries = rabbitDeliveries({
      connection: consuming,
      group,
      partitions: 1,
      prefetch: 100,
      declare: async () => {},
      clock: systemClock,
      random: Math.random,
      log: silentLog,
    })
    if (plans) {
      const bytes = open.size * 700
      middles.consume.arm(anyPlan(chance, { toBroker: open.size * 21 + 500, toClient: bytes }))
      middles.publish.arm(anyPlan(chance, { toBroker: bytes, toClient: open.size * 21 }))
    }
    deliveries.start((delivery) => pipeline.take(delivery))
    const patience = new AbortController()
    await Promise.race([
      lived,
      empty(),
      wait(patienceMs, undefined, { signal: patience.signal }).catch(() => {}),
    ])
    patience.abort()
    await pipeline.close(0)
    middles.consume.arm(harmless)
    middles.publish.arm(harmless)
    await Promise.all([deliveries.close(), sidings.close()])
    await Promise.all([consuming.close(), publishing.close()])
    for (const { params } of storage.effects()) committed.add(String(params[0]))
    for (const { id } of storage.dead()) committed.add(String(id))
    result.told += settled

    async function empty(): Promise<void> {
      while (!patience.signal.aborted && settled < open.size) await wait(5)
    }
  }

  /** What is neither waiting in the queue nor committed nor aside is lost. */
  async function account(): Promise<void> {
    for (const witness of asides) for (const id of await witness.held()) aside.add(id)
    let waiting = await lookInto(admin)
    // What a connection had that is gone comes back to the queue a moment later.
    const found = (id: string): boolean => committed.has(id) || aside.has(id) || waiting.has(id)
    if (![...open].every(found)) {
      await wait(500)
      waiting = await lookInto(admin)
    }
    for (const id of open) {
      if (committed.has(id) || aside.has(id)) open.delete(id)
      else if (!waiting.has(id))
        result.faults.push(
          `round ${result.rounds}: ${id} was acknowledged, and is neither committed nor aside`,
        )
    }
  }

  try {
    while (place.cuts() < options.cuts && result.faults.length === 0) {
      const random = chance(options.seed, 'cloud', result.rounds)
      for (let left = random.whole(5, 120); left > 0; left--) {
        const fate = random.pick(['good', 'good', 'again', 'poison', 'no-event'] as const)
        const { event, text } = ledger.next(`device-${random.whole(1, 5)}`, {
          data: { fate, filler: 'x'.repeat(random.whole(0, random.one(0.05) ? 60_000 : 600)) },
        })
        const envelope = { routingKey: queue, messageId: event.id, durable: true }
        await channel.basicPublish(envelope, Buffer.from(fate === 'no-event' ? 'nonsense' : text))
        open.add(event.id)
        result.published += 1
      }
      await life(random, true)
      await account()
      result.rounds += 1
      options.onRound?.({ ...result, cuts: place.cuts() })
    }
    return { ...result, cuts: place.cuts() }
  } finally {
    await channel.close()
    await place.close()
  }
}

/** IDs of what the queue holds. Delivered without an acknowledgement, it goes back with the channel. */
async function lookInto(broker: AmqpConnection): Promise<Set<string>> {
  const channel = await broker.client.acquire()
  const { messageCount } = await channel.queueDeclare({ queue, passive: true })
  const ids: string[] = []
  await new Promise<void>((resolve, reject) => {
    if (messageCount === 0) return resolve()
    channel
      .basicConsume({ queue }, ({ messageId }) => {
        if (ids.push(String(messageId)) === messageCount) resolve()
      })
      .catch(reject)
  })
  await channel.close()
  return new Set(ids)
}

const consumer = defineConsumer({
  group,
  types: ['#'],
  // It is about letters to the sidings.
  onFailure: 'overtake',
  async handle(event, { tx }) {
    const { fate } = event.data as { fate: string }
    if (fate !== 'good')
      throw new TidegateError('SENSOR_ODD', {
        message: 'it fails',
        retryable: fate === 'again',
        hint: 'let it',
      })
    await tx.query('insert', [event.id])
  },
})
