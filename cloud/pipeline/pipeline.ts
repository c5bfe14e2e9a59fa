import { setMaxListeners } from 'node:events'
import type { Clock, Random } from '../../src/clock.ts'
import type { TidegateError } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { Delivery, Sidings } from '../amqp/delivery.ts'
import type { Statements } from '../database/statements.ts'
import { createBreakers } from '../protection/breakers.ts'
import { type Gate, openGate } from '../protection/gate.ts'
import type { Storage } from '../database/storage.ts'
import type { Replayed } from '../replays/replayed.ts'
import { partitionKeyOf } from '../parking/partition-key.ts'
import { partitionOf } from '../../src/contract/wire.ts'
import { createRoom, type ParkingBounds } from '../parking/occupancy.ts'
import type { Occupancy, ParkingIn } from '../parking/parking.ts'
import { createYard } from '../parking/yard.ts'
import { createRunner } from './runner.ts'
import { createAside } from './aside.ts'
import type { ConfiguredConsumer } from './definition.ts'
import { createHolding } from './holding.ts'
import { createLane } from './lane.ts'
import { createPlaces } from './limits/places.ts'
import type { LetterBox } from '../letters/dead-letters.ts'
import type { Checks } from './judge.ts'
import type { PipelineObserver } from './observer.ts'
import { createSettlement } from './settlement.ts'

/**
 * What becomes of a delivery:
 *
 *     delivery ─▶ judge ─▶ [ inbox + handler ] in one transaction ─▶ ack
 *                   │            │ fails: divide until the culprit stands alone
 *                   ▼            ▼
 *                dead letter ◀─ decide ─▶ rung, parking    (committed, or sent with proof; then ack)
 *
 * In a group that parks, the transaction first moves the events of parked devices to the parking; a runner (runner.ts) tries
 * these in their order, outside the lanes, until nothing of the device waits (G6).
 *
 * A consumer that records faults is handed those that judge has found; what it has committed has no letter.
 *
 * Stages throw; `decide` turns the error into an outcome. A delivery is acknowledged after its outcome is durable,
 * never before, so a crash anywhere means a redelivery, and the inbox makes that harmless (G4, G5).
 *
 * Devices share a few lanes (lane.ts), each always the same: that of its partition or, in a group that parks, of itself. What fails is put aside (aside.ts); who meets an outage waits until it is
 * over (holding.ts).
 */
export interface Pipeline {
  readonly group: string
  take(delivery: Delivery): void
  /** Deliveries taken and not settled. */
  readonly inFlight: number
  /** By lane: for how long its oldest deliveries have waited for attempts that failed, and for the one under way (lane.ts). */
  readonly lanesStarvedMs: readonly number[]
  /** The outage that is being waited out, if any. */
  readonly heldBy: TidegateError | undefined
  /** What is parked of the group, whichever instance parked it. */
  readonly parked: Occupancy
  /**
   * Begins nothing new, waits up to `graceMs` for what is under way, then cuts it off. Idempotent. What is not
   * settled stays unacknowledged.
   */
  close(graceMs?: number): Promise<void>
}

export interface PipelineOptions extends Checks {
  consumer: ConfiguredConsumer
  storage: Storage
  /** Dead letters that come back. */
  replayedIn: (transaction: Statements) => Replayed
  sidings: Sidings
  parkingIn: ParkingIn
  /**
   * `concurrency`: parked devices that are tried at a time, by default as many as there are lanes: they may have to carry what those would.
   * Of a group with a `concurrency` never more than half of it.
   */
  parking: ParkingBounds & { concurrency?: number | undefined }
  /** What lets them begin; by default nothing holds them up. */
  gate?: Gate | undefined
  letters: LetterBox
  /** Most deliveries in one transaction. */
  batchMax: number
  lanes: number
  /** A transaction that takes longer makes the next ones smaller, so that slow handlers commit often. */
  batchTimeTargetMs: number
  instance: string
  clock: Clock
  random: Random
  /** Of this group: its lines say which it is. */
  log: Logger
  observer: PipelineObserver
  /** A fault in Tidegate itself; the process should end. */
  onFatal: (error: unknown) => void
}

export function createPipeline(options: PipelineOptions): Pipeline {
  const { group } = options.consumer
  const { gate = openGate } = options
  const breakers = createBreakers()
  const stop = new AbortController()
  const cut = new AbortController()
  const stopping = stop.signal
  const cutOff = cut.signal
  // Every lane and every letter may wait on them at once.
  setMaxListeners(0, stopping, cutOff)
  const settlement = createSettlement({ ...options, group, stopping })
  const holding = createHolding({ ...options, group, stopping })
  const { lettersIn } = options.letters
  const { dedup, parks, concurrency: handlersMax = Infinity } = options.consumer
  const room = createRoom({ bounds: options.parking, count, clock: options.clock, signal: stopping })
  const yard = createYard({ ...options, group, dedup, room, cutOff })
  const aside = createAside({ ...options, settlement, holding, yard, cutOff })
  const parts = { aside, holding, gate, places: createPlaces(handlersMax), stopping, cutOff }
  const lanes = Array.from({ length: Math.min(options.lanes, handlersMax) }, () =>
    createLane({ ...options, breakers, lettersIn }, { ...parts, settlement, yard }),
  )
  const laneOf = parks ? byDevice : byPartition
  const places = options.parking.concurrency ?? options.lanes
  const concurrency = Math.min(places, Math.max(1, Math.floor(handlersMax / 2)))
  const runner = createRunner({ ...options, breakers, concurrency }, { ...parts, room })
  let closing: Promise<void> | undefined

  function count(): Promise<Occupancy> {
    return options.storage.transaction((tx) => options.parkingIn(tx).occupancy(group), cutOff)
  }

  async function close(graceMs: number): Promise<void> {
    stop.abort()
    const timer = options.clock.after(graceMs, () => cut.abort())
    await Promise.all([...lanes.map((lane) => lane.close()), runner.close(), room.closed])
    timer.cancel()
    cut.abort()
  }

  return {
    group,
    take(delivery) {
      if (!stopping.aborted) lanes[laneOf(delivery, lanes.length)]?.take(delivery)
    },
    get inFlight() {
      return lanes.reduce((sum, lane) => sum + lane.inFlight, 0)
    },
    get lanesStarvedMs() {
      return lanes.map((lane) => lane.starvedMs)
    },
    get heldBy() {
      return holding.heldBy
    },
    get parked() {
      return room.occupancy
    },
    close: (graceMs = 10_000) => (closing ??= close(graceMs)),
  }
}

/** A lane that is full holds up its partitions, and no other. */
function byPartition({ partition }: Delivery, lanes: number): number {
  return partition % lanes
}

/**
 * The lane of a device is always the same, so that its events stay in order (G6), and not that of its partition, so that one that hangs,
 * once, holds up few others. What names no device becomes a dead letter wherever it goes.
 */
function byDevice({ text, partition, batchFault, propertyFault }: Delivery, lanes: number): number {
  const device = batchFault === undefined && propertyFault === undefined ? partitionKeyOf(text) : undefined
  if (device === undefined) return partition % lanes
  // The partition is this number too: what is mixed is independent of it.
  return (Math.imul(partitionOf(device, 2 ** 32), 0x9e3779b1) >>> 16) % lanes
}
