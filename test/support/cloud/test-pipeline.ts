import {
  type Consumer,
  defineConsumer,
  type SingleConsumerOptions,
} from '../../../cloud/pipeline/consumer.ts'
import { configured } from '../../../cloud/pipeline/definition.ts'
import { selfConsistent } from '../../../cloud/gateways/provenance.ts'
import { nothingReplayed } from '../../../cloud/replays/replayed.ts'
import { noObserver } from '../../../cloud/pipeline/observer.ts'
import { createPipeline, type Pipeline, type PipelineOptions } from '../../../cloud/pipeline/pipeline.ts'
import { noUpcasts } from '../../../src/schemas/upcast/chain.ts'
import { createReadAs } from '../../../src/schemas/upcast/read-as.ts'
import { noSchemaCheck } from '../../../cloud/reading/schema-check.ts'
import { Guard } from '../../../cloud/protection/guard.ts'
import type { Clock } from '../../../src/clock.ts'
import { TidegateError } from '../../../src/errors.ts'
import { silentLog } from '../../../src/log.ts'
import { FakeClock } from '../fakes/clock.ts'
import { createFakeBroker, type FakeBrokerOptions } from '../fakes/deliveries.ts'
import { registryOf } from '../fakes/schemas.ts'
import { fakeGroupStates } from '../fakes/group-states.ts'
import { createFakeStorage, fakeDeadLetters, fakeParking, type FakeStorageOptions } from '../fakes/storage.ts'

export const partitions = 4

/** For a group that nobody pauses. */
export function idleGuard(group: string, clock: Clock): Guard {
  return new Guard({
    group,
    instance: 'test',
    states: fakeGroupStates(clock),
    killSwitch: undefined,
    ratePerSecond: undefined,
    membersNow: () => 1,
    clock,
    log: silentLog,
  })
}

export const ladderMs = [5_000, 30_000]
const defaults = { ladderMs, timeoutMs: 30_000 }

export interface Setup {
  pipeline?: Partial<PipelineOptions>
  storage?: FakeStorageOptions
  broker?: Partial<FakeBrokerOptions>
  clock?: FakeClock
}

export function setUp(
  consumer: Consumer,
  { pipeline, storage: storageOptions, broker: brokerOptions, clock = new FakeClock() }: Setup = {},
) {
  const storage = createFakeStorage({ nowMs: () => clock.now(), ...storageOptions })
  const broker = createFakeBroker({ group: consumer.group, partitions, clock, ...brokerOptions })
  const options = (instance: string): PipelineOptions => ({
    consumer: configured(consumer, defaults),
    storage,
    replayedIn: () => nothingReplayed,
    sidings: broker.sidings,
    letters: { lettersIn: fakeDeadLetters, full: () => undefined, mirror: () => {} },
    parkingIn: fakeParking,
    parking: { concurrency: 2, devicesMax: 1000, eventsMax: 1000, eventsMaxPerDevice: 1000 },
    provenance: selfConsistent,
    checkSchema: noSchemaCheck,
    readAs: createReadAs(registryOf({}), noUpcasts),
    batchMax: 20,
    batchTimeTargetMs: 1000,
    lanes: 2,
    instance,
    clock,
    random: () => 0.5,
    log: silentLog,
    observer: noObserver,
    onFatal: (error) => {
      throw error
    },
    ...pipeline,
  })
  type Started = { pipeline: Pipeline; deliveries: ReturnType<typeof broker.connect> }
  const startWith = (given: PipelineOptions): Started => {
    const started = createPipeline(given)
    const deliveries = broker.connect()
    deliveries.start((delivery) => started.take(delivery))
    return { pipeline: started, deliveries }
  }
  const start = (instance: string): Started => startWith(options(instance))
  return { clock, storage, broker, options, start, startWith }
}

/** Writes each event into the transaction. What fails goes to the rungs, unless `more` says that it is parked. */
export function writing(more: Partial<SingleConsumerOptions> = {}): Consumer {
  return defineConsumer({
    group: 'writer',
    types: ['#'],
    onFailure: 'overtake',
    async handle(event, { tx }) {
      await tx.query('insert', [event.partitionkey, event.sequence])
    },
    ...more,
  })
}

/** A promise and who resolves it. */
export function gate(): { promise: Promise<void>; release: () => void } {
  const resolvers: (() => void)[] = []
  const promise = new Promise<void>((resolve) => resolvers.push(resolve))
  return { promise, release: () => resolvers.forEach((resolve) => resolve()) }
}

export const failure = (retryable: boolean): TidegateError =>
  new TidegateError('SENSOR_ODD', { message: 'the sensor is odd', retryable, hint: 'look at it' })
