import type { Event } from '../../src/contract/envelope.ts'
import { selfConsistent } from '../gateways/provenance.ts'
import type { SchemaRegistry } from '../../src/schemas/registry.ts'
import type { ReadAs } from '../../src/schemas/upcast/read-as.ts'
import type { Storage } from '../database/storage.ts'
import { postgresDeadLetters } from '../letters/dead-letters-postgres.ts'
import { postgresParking } from '../parking/parking-postgres.ts'
import { type Consumer, configured } from '../pipeline/definition.ts'
import type { HandlerLog } from '../pipeline/handlers/handler-log.ts'
import { noObserver, type PipelineObserver } from '../pipeline/observer.ts'
import { createPipeline, type Pipeline } from '../pipeline/pipeline.ts'
import { schemaCheck } from '../reading/schema-check.ts'
import { replayedIn } from '../replays/replayed-postgres.ts'
import type { Activity } from './activity.ts'
import { createFakeBroker, type FakeBroker, type FakeDeliveries } from './broker.ts'
import { partitions, posted } from './events.ts'
import type { VirtualClock } from './virtual-clock.ts'

/** What a run has of whoever tests the consumer. */
export interface RunParts {
  schemas: SchemaRegistry
  readAs: ReadAs
  log: HandlerLog
}

export interface RunOptions {
  consumer: Consumer
  /** In place of the consumer's own. */
  handler: Consumer['handler']
  parts: RunParts
  storage: Storage
  clock: VirtualClock
  activity: Activity
  batchMax: number
  observer?: Partial<PipelineObserver>
}

/** The real pipeline of one group, in front of a broker in memory and behind it a real database. */
export class Run {
  readonly broker: FakeBroker
  readonly #options: RunOptions
  readonly #fatal: unknown[] = []
  #pipeline: Pipeline
  #deliveries: FakeDeliveries

  constructor(options: RunOptions) {
    const { consumer, clock } = options
    this.#options = options
    this.broker = createFakeBroker({ group: consumer.group, partitions, clock })
    this.#pipeline = this.#create()
    this.#deliveries = this.#connect()
  }

  /** What came and is not done with: in the queues, on rungs, parked. */
  get waiting(): number {
    const { retrying, held } = this.#pipeline.parked
    return this.broker.depth + this.broker.onRungs + retrying + held
  }

  /** Nothing is left that time would bring on: devices are held for an operator. */
  get isHeld(): boolean {
    const { retrying, held } = this.#pipeline.parked
    return held > 0 && retrying + this.broker.depth + this.broker.onRungs === 0
  }

  post(events: readonly Event[], redelivered = false): void {
    for (const event of events) this.broker.post(posted(event, redelivered))
  }

  /** The connection to the broker drops and is there again: what is not acknowledged is delivered once more. */
  drop(): void {
    this.#deliveries.drop()
    this.#deliveries.reconnect()
  }

  /** The process is gone, with all that it had in hand, and another takes its place. */
  async crash(): Promise<void> {
    this.#deliveries.drop()
    await this.#end(0)
    this.#pipeline = this.#create()
    this.#deliveries = this.#connect()
  }

  /** Until all is settled, or nothing goes on before time does. @throws what no consumer is to blame for */
  async settle(patient = true): Promise<void> {
    await this.#options.activity.calm(patient)
    if (this.#fatal.length > 0) throw this.#fatal[0]
  }

  async advance(byMs: number): Promise<void> {
    await this.#options.clock.advance(byMs, () => this.settle(false))
  }

  async close(): Promise<void> {
    await this.#deliveries.close()
    await this.#end(0)
  }

  async #end(graceMs: number): Promise<void> {
    const closed = this.#pipeline.close(graceMs)
    // Time stands still: what waits for its end is told so.
    await Promise.all([closed, this.#options.clock.advance(graceMs, () => this.settle(false))])
  }

  #connect(): FakeDeliveries {
    const deliveries = this.broker.connect()
    deliveries.start((delivery) => this.#pipeline.take(delivery))
    return deliveries
  }

  #create(): Pipeline {
    const { consumer, handler, parts, storage, clock, batchMax, observer } = this.#options
    const { schemas, readAs, log } = parts
    return createPipeline({
      consumer: configured({ ...consumer, handler }, { timeoutMs: 30_000 }),
      storage,
      replayedIn,
      sidings: this.broker.sidings,
      letters: { lettersIn: postgresDeadLetters, full: () => undefined, mirror: () => {} },
      parkingIn: postgresParking,
      parking: { devicesMax: 10_000, eventsMax: 100_000, eventsMaxPerDevice: 10_000 },
      provenance: selfConsistent,
      checkSchema: schemaCheck(schemas, 'accept'),
      readAs,
      batchMax,
      batchTimeTargetMs: 1_000,
      lanes: 1,
      instance: 'test',
      clock,
      random: () => 0.5,
      log: log as never,
      observer: { ...noObserver, ...observer },
      onFatal: (error) => this.#fatal.push(error),
    })
  }
}
