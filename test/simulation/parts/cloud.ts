import { codeOf, TidegateError } from '../../../src/errors.ts'
import type { Logger } from '../../../src/log.ts'
import { formerDeadQueue, mirrorQueue, rungName } from '../../../src/contract/wire.ts'
import { rabbitDeliveries } from '../../../cloud/amqp/deliveries-rabbit.ts'
import { type Consumer, defineConsumer } from '../../../cloud/pipeline/consumer.ts'
import { configured } from '../../../cloud/pipeline/definition.ts'
import { historyConsumer } from '../../../cloud/history/consumer.ts'
import { rollupsConsumer } from './rollups.ts'
import type { Deliveries, Sidings } from '../../../cloud/amqp/delivery.ts'
import type { LetterBox } from '../../../cloud/letters/dead-letters.ts'
import { startFormerLetters } from '../../../cloud/letters/former-letters.ts'
import { startReplayer } from '../../../cloud/replays/replayer.ts'
import { noObserver } from '../../../cloud/pipeline/observer.ts'
import { createPipeline, type Pipeline } from '../../../cloud/pipeline/pipeline.ts'
import { DevicePatterns, type RegisteredDevices, registeredDevices } from '../../../cloud/gateways/devices.ts'
import { emptyRegistry } from '../../../cloud/gateways/registry.ts'
import { provenance } from '../../../cloud/gateways/provenance.ts'
import { createReadAs } from '../../../src/schemas/upcast/read-as.ts'
import { schemaCheck } from '../../../cloud/reading/schema-check.ts'
import { exchangeTopology, groupTopology } from '../../../cloud/amqp/topology.ts'
import { eventKey } from '../../../src/contract/event.ts'
import type { SimulatedBroker } from './broker.ts'
import type { Chance } from '../plan/chance.ts'
import { connectionFor, type SimulatedChannel } from './channel.ts'
import type { SimulatedDatabase } from './database.ts'
import type { Effect } from './tables.ts'
import type { Journal } from './journal.ts'
import { lookedAfter, type Operator } from './operator.ts'
import { gatewayName, type Settings } from '../plan/settings.ts'
import { intruderName } from './intruder.ts'
import { SimulatedProcess } from './process.ts'
import type { Scheduler } from './scheduler.ts'
import { simulatedDeadLetters, simulatedHistory, simulatedParking, simulatedRollups } from './transaction.ts'
import { outboundFor } from './outbound.ts'
import { watchedGuard, type WatchedGuard } from './watched-guard.ts'
import { simulatedReplayed, simulatedReplays } from './workplace.ts'
import { schemasOf, types, upcasts } from '../plan/schemas.ts'
import type { Truth } from './truth.ts'

export interface CloudParts {
  scheduler: Scheduler
  journal: Journal
  random: Chance
  broker: SimulatedBroker
  database: SimulatedDatabase
  truth: Truth
  settings: Settings
  operator: Operator
  log: Logger
}

export const groupNames = ['history', 'rollups', 'effects'] as const
const history = historyConsumer(simulatedHistory)
const rollups = rollupsConsumer(simulatedRollups)
const heartbeatMs = 10_000
const replayLeaseMs = 5_000
/** Of the groups that must never give up: long enough for any number of frozen instances in a run. */
const longLadderMs = [1000, 2000, ...Array.from({ length: 18 }, () => 3000)]

/** What the cloud declares when it starts. */
export function declareAll(broker: SimulatedBroker, settings: Settings): void {
  broker.declare(exchangeTopology())
  const { partitions } = settings
  for (const group of groupNames) {
    const ladderMs = group === 'effects' ? settings.ladderMs : longLadderMs
    const types = group === 'history' ? [...history.types] : ['#']
    broker.declare(groupTopology({ group, types, ordered: true, ladderMs, partitions, mirror: true }))
  }
  if (!settings.workplace) return
  const refusing = { 'x-overflow': 'reject-publish' } as const
  broker.declare({
    exchanges: [],
    queues: [{ name: formerDeadQueue(lookedAfter), arguments: { ...refusing } }],
    bindings: [],
  })
}

/** One instance of the cloud: every group's real pipeline on real deliveries over simulated channels. */
export class Cloud {
  readonly name: string
  process: SimulatedProcess | undefined
  private pipelines: Pipeline[] = []
  private deliveries: Deliveries[] = []
  /** What else is to be closed at an orderly stop. */
  private others: { close(): Promise<void> }[] = []
  private readonly channels = new Set<SimulatedChannel>()
  private readonly parts: CloudParts

  constructor(name: string, parts: CloudParts) {
    this.name = name
    this.parts = parts
    this.start()
  }

  get quiet(): boolean {
    return this.process?.alive === true && this.pipelines.every((pipeline) => pipeline.inFlight === 0)
  }

  crash(offMs: number, where: string): void {
    const { process, parts } = this
    if (!process?.alive) return
    parts.journal.tell(this.name, `killed at ${where}`)
    process.alive = false
    parts.database.abandon(process)
    this.cutAll(parts.random.one(0.8) ? 500 : heartbeatMs)
    parts.scheduler.after(offMs, () => this.start())
  }

  async stop(offMs: number): Promise<void> {
    const { process, deliveries, pipelines, parts } = this
    if (!process?.alive) return
    parts.journal.tell(this.name, 'stops')
    for (const part of deliveries) part.stop()
    const others = this.others.map((one) => one.close())
    await Promise.all([...pipelines.map((pipeline) => pipeline.close(5000)), ...others])
    await Promise.all(deliveries.map((part) => part.close()))
    if (!process.alive) return
    process.alive = false
    parts.database.abandon(process)
    this.cutAll(0)
    parts.scheduler.after(offMs, () => this.start())
  }

  /** SIGSTOP: its heartbeats stop as well. */
  freeze(forMs: number): void {
    const { process, parts } = this
    process?.freeze(forMs)
    if (forMs > heartbeatMs) {
      parts.scheduler.after(heartbeatMs, () => {
        if (this.process === process) this.cutAll(0)
      })
    }
  }

  cutChannel(which: number): void {
    const channels = [...this.channels]
    channels[which % Math.max(1, channels.length)]?.cut()
  }

  stepBack(which: number): void {
    const { partitions } = this.parts.settings
    this.deliveries[which % Math.max(1, this.deliveries.length)]?.stepBack(which % partitions)
  }

  private cutAll(withinMs: number): void {
    for (const channel of this.channels) {
      this.parts.scheduler.after(this.parts.random.between(0, withinMs), () => channel.cut())
    }
    if (!this.process?.alive) this.channels.clear()
  }

  private start(): void {
    if (this.process?.alive) return
    const { scheduler, journal, random, broker, database, settings, log } = this.parts
    const process = new SimulatedProcess(this.name, scheduler, { offsetMs: 0 })
    this.process = process
    journal.tell(this.name, 'starts')
    const { clock } = process
    const latencyMsMax = settings.latencyMsMax
    const connection = connectionFor(process, { scheduler, random, broker, latencyMsMax }, this.channels)
    const devices = devicesOf(settings)
    const knowsNewer = (): boolean => scheduler.nowMs >= settings.learnsAtMs
    const schemas = schemasOf('cloud', knowsNewer)
    const shared = {
      storage: database.storageFor(process),
      replayedIn: simulatedReplayed,
      sidings: this.sidingsFor(process),
      letters: this.lettersFor(process),
      parkingIn: simulatedParking,
      parking: settings.parking,
      provenance: provenance({
        users: {},
        unvouched: 'refuse',
        unknown: 'accept',
        withoutDevices: 'refuse',
        ownUser: undefined,
        registry: () => emptyRegistry,
        devices: () => devices,
      }),
      checkSchema: schemaCheck(schemas, 'accept', () => journal.count('schema-unknown')),
      readAs: createReadAs(schemas, upcasts),
      batchMax: settings.cloudBatchMax,
      lanes: settings.cloudLanes,
      batchTimeTargetMs: 200,
      instance: this.name,
      clock,
      random: random.random,
      log,
      observer: {
        ...noObserver,
        held: (_group: string, code: string) => {
          if (code === 'SCHEMA_AWAITED') journal.count('schema-awaited')
        },
      },
      onFatal: (error: unknown) => {
        if (process.alive)
          journal.violate('error', `${this.name} ended with ${codeOf(error)}: ${String(error)}`)
      },
    }
    this.pipelines = []
    this.deliveries = []
    this.others = []
    const watched = settings.workplace ? watchedGuard(this.name, process, this.parts) : undefined
    const guard = watched?.guard
    if (watched) this.others.push(watched)
    const defaults = { ladderMs: longLadderMs, timeoutMs: settings.handlerTimeoutMs }
    for (const defined of [history, rollups, this.effectsFor(process, watched?.mayHandle)]) {
      const consumer = configured(defined, defaults)
      const isGuarded = consumer.group === lookedAfter && guard !== undefined
      const pipeline = createPipeline({ ...shared, consumer, ...(isGuarded && { gate: guard.gate }) })
      const deliveries = rabbitDeliveries({
        connection,
        group: consumer.group,
        partitions: settings.partitions,
        prefetch: settings.prefetch,
        declare: async () => {},
        ...(isGuarded && { isHeld: () => pipeline.heldBy !== undefined || guard.gate.closed }),
        clock,
        random: random.random,
        log,
      })
      if (isGuarded) guard.over({ pause: () => deliveries.pause(), resume: () => deliveries.resume() })
      deliveries.start((delivery) => pipeline.take(delivery))
      this.pipelines.push(pipeline)
      this.deliveries.push(deliveries)
    }
    if (!settings.workplace) return
    const { storage, letters } = shared
    const connections = { consuming: connection, publishing: connection }
    const common = { clock, random: random.random, log }
    this.others.push(
      startFormerLetters({ group: lookedAfter, ...connections, storage, letters, ...common }),
      startReplayer({
        replaysUntil: (signal) => simulatedReplays(database, process, replayLeaseMs, signal),
        outbound: outboundFor(process, this.parts),
        partitions: settings.partitions,
        clock,
        log,
        lookEveryMs: 5_000,
        settleWithinMs: 30_000,
        pageMax: 3,
        outstandingMax: 6,
      }),
    )
  }

  /** A handler that does, fails and hangs as the event's ID says. */
  private effectsFor(process: SimulatedProcess, mayHandle: WatchedGuard['mayHandle'] | undefined): Consumer {
    const { settings, random, operator, scheduler, journal } = this.parts
    const group = lookedAfter
    const wanted = (): number => (scheduler.nowMs >= settings.learnsAtMs ? 2 : 1)
    const defined = defineConsumer({
      group,
      types: ['#'],
      onFailure: settings.onFailure,
      retry: settings.ladderMs,
      async handle(event, { tx, attempt, delivery }) {
        await process.step('handler', random.between(0, settings.latencyMsMax))
        const { epoch, sequence, partitionkey: device } = event
        const read = event.dataschema === `${types.reading}/2` ? 'level' : 'value'
        if (event.type === types.reading && typeof (event.data as Record<string, unknown>)[read] !== 'number')
          journal.violate('G5', `${event.id} was handed over as no ${event.dataschema ?? 'version'}`)
        if (event.type === types.reading && event.dataschema === `${types.reading}/2` && wanted() === 1)
          journal.violate('G5', `${event.id} was handed over in a version that nobody has asked for`)
        const effect: Effect = {
          group,
          key: eventKey(event),
          device,
          epoch,
          sequence,
          text: delivery.text.toString(),
        }
        await tx.query('insert', [effect, mayHandle])
        const [what] = event.id.split('-')
        if (operator.failing) throw new Error('nothing can be done')
        if (what === 'hopeless' && !operator.mended) throw new Error('cannot be done')
        // Behind another that failed it has the first step of the ladder alone, and as a replay none.
        const fallsMax = settings.onFailure !== 'park' ? 2 : operator.mended ? 0 : 1
        if (what === 'stumbles' && attempt <= Math.min(fallsMax, settings.ladderMs.length))
          throw new Error('not yet')
        if (what === 'hangs' && attempt === 1) await process.step('hanging', 1e9)
        await process.step('handled', 0)
      },
    })
    return { ...defined, wantedVersion: (type) => (type === types.reading ? wanted() : undefined) }
  }

  /** The crash points of a letter are those of its transaction, and of the acknowledgement behind it. */
  private lettersFor(process: SimulatedProcess): LetterBox {
    const { broker, random, settings, journal } = this.parts
    const { clock } = process
    /** Until when a group is held, for it is full. */
    const untilMs = new Map<string, number>()
    return {
      lettersIn: simulatedDeadLetters,
      full(group) {
        if (!untilMs.has(group) && random.one(0.05)) {
          untilMs.set(group, clock.monotonicMs() + 3_000)
          journal.count('letters-full')
        }
        return clock.monotonicMs() < (untilMs.get(group) ?? 0) ? fullOfLetters() : undefined
      },
      mirror(group, make) {
        process.mayCrash('mirror')
        if (!process.alive) return
        const { body, headers, properties } = make()
        process.later(random.between(0.1, settings.latencyMsMax), () => {
          if (!broker.up) return
          const routingKey = mirrorQueue(group)
          broker.publish({ exchange: '', routingKey, body, headers, properties: { ...properties } })
        })
      },
    }
  }

  private sidingsFor(process: SimulatedProcess): Sidings {
    const { broker, random, settings, truth, journal } = this.parts
    return {
      async send(siding, letter) {
        await process.step('letter', random.between(0.1, settings.latencyMsMax))
        const target = { exchange: rungName(siding.group, siding.delayMs), routingKey: siding.queue }
        const body = letter.body
        truth.retried.add(`${siding.group} ${body.toString()}`)
        if (!broker.up) throw unavailable('connection refused')
        if (broker.lettersToRefuse > 0) {
          broker.lettersToRefuse -= 1
          journal.count('siding-lost')
          throw unavailable('it is full')
        }
        const { headers } = letter
        const properties = { ...letter.properties }
        const answer = broker.publish({ ...target, body, headers, properties })
        if (answer !== 'routed') throw unavailable(answer)
        if (broker.letterConfirmsToLose > 0) {
          broker.letterConfirmsToLose -= 1
          journal.count('siding-unknown')
          throw unavailable('no confirm')
        }
        await process.step('letter confirmed', random.between(0.1, settings.latencyMsMax))
      },
      close: async () => {},
    }
  }
}

function fullOfLetters(): TidegateError {
  return new TidegateError('DEAD_LETTERS_FULL', { message: 'there are too many', retryable: true, hint: '' })
}

function unavailable(message: string): TidegateError {
  return new TidegateError('SIDING_UNAVAILABLE', { message, retryable: true, hint: '' })
}

/** The gateway and the intruder may each speak of devices of their own. */
function devicesOf({ devices }: Settings): RegisteredDevices {
  const own = { patterns: new DevicePatterns(devices) }
  const others = { patterns: new DevicePatterns([`${intruderName}-*`]) }
  return registeredDevices(
    new Map([
      [gatewayName, own],
      [intruderName, others],
    ]),
    [],
  )
}
