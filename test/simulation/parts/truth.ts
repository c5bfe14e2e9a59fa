import { checkpointType } from '../../../src/contract/checkpoint.ts'
import { schemasType } from '../../../src/contract/schemas-used.ts'
import { eventKey, ledgerType, type Undelivered } from '../../../src/contract/event.ts'
import { decodeHead } from '../../../edge/outbox/layout/head.ts'
import { headKey } from '../../../edge/outbox/layout/keys.ts'
import type { StoredEvent } from '../../../edge/outbox/layout/record.ts'
import type { Queued } from '../../../edge/outbox/outbox.ts'
import type { StoreOperation } from '../../../edge/store/store.ts'
import { BlocksSeen } from './blocks-seen.ts'
import { Hands, type HandsParts } from './hands.ts'
import type { Journal } from './journal.ts'
import type { Scheduler } from './scheduler.ts'

/** A numbered event as the disk held it. */
export interface Place {
  position: number
  epoch: string
  sequence: number
  key: string
  device: string
  type: string
  lane: 'high' | 'normal'
  text: string
  /** True time at which it was admitted, as near as the disk can tell, ms. */
  admittedMs: number
  ttlMs: number | undefined
  removed: { atMs: number; as: 'routed' | Undelivered } | undefined
}

/**
 * What really happened, seen from outside: by the disk, the wire and the devices. The checks hold what the programs
 * say against this.
 */
export class Truth {
  /** Events whose devices were told "I have it", at QoS 1. */
  readonly acknowledged = new Map<string, number>()
  /** By position; a position that a crash took back may be written again. */
  readonly places = new Map<number, Place>()
  /** Events that damage took: what of them was acknowledged the ledger must call lost. */
  readonly damaged: Place[] = []
  /** By which schemas the gateway has judged an event when it came first, by their revision. */
  readonly judgedBy = new Map<string, number>()
  /** Texts that reached a queue of the broker. */
  readonly routed = new Set<string>()
  /** Those of them that reached one more than once: no confirm had come. */
  readonly routedAgain = new Set<string>()
  /** Events that the broker did not take at least once: what was sent behind them may have overtaken them. */
  readonly refused = new Set<string>()
  /** Deliveries that went to a rung, by group and text: those behind them go first. */
  readonly retried = new Set<string>()
  /** True time at which the outbox last wrote what its clocks said. */
  headLandedMs = 0
  /**
   * The wall clock jumped forward, and nothing on earth can tell that from time that passed: the edge died before its
   * next look at the clocks was on the disk, or had just started and waited to be told how late it is. A stated limit: what expires or is forgotten in such a run is not judged.
   */
  clockWasLost = false
  /** The newest write was damaged once: the ledger may go on in a new epoch. */
  wasTorn = false
  /** True time at which the edge asked for the write under way; it may land much later. */
  writeAskedMs = 0
  /** Of the edge's program that runs now. */
  hands: Hands
  private readonly blocks = new BlocksSeen()
  private readonly scheduler: Scheduler
  private readonly journal: Journal

  constructor(parts: HandsParts) {
    this.scheduler = parts.scheduler
    this.journal = parts.journal
    this.hands = new Hands(parts)
  }

  /** A write of the outbox took effect. */
  landed(operations: readonly StoreOperation[], synced: boolean): void {
    const notes = operations.flatMap((operation): Note[] =>
      operation.type === 'put' && operation.key.startsWith('u!') ? [JSON.parse(operation.value) as Note] : [],
    )
    const head = operations.find((operation) => operation.key === headKey)
    if (head && synced) this.headLandedMs = this.writeAskedMs
    const steadyMs = head?.type === 'put' ? decodeHead(head.value)?.steadyMs : undefined
    const before = [...this.places.values()].filter(({ removed }) => removed === undefined)
    const { came, left } = this.blocks.changed(operations)
    for (const stored of came) this.places.set(stored.position, this.read(stored, steadyMs))
    for (const position of left) this.removed(position, notes)
    this.checkEviction(before)
    this.hands.landed()
  }

  /** A crash took a write back. */
  undone(operations: readonly StoreOperation[]): void {
    const { came, left } = this.blocks.changed(operations)
    for (const position of left) this.places.delete(position)
    for (const { position } of came) {
      const place = this.places.get(position)
      if (place) place.removed = undefined
    }
  }

  /** Damage took a write back that may have been synced. */
  torn(operations: readonly StoreOperation[]): void {
    for (const position of this.blocks.writtenIn(operations)) {
      const place = this.places.get(position)
      if (place) this.damaged.push(place)
    }
    this.wasTorn ||= operations.length > 0
    this.undone(operations)
  }

  /** G3: an event leaves the disk only when it reached a queue, or together with the note that says why not. */
  private removed(position: number, notes: readonly Note[]): void {
    const place = this.places.get(position)
    this.hands.left(position)
    if (!place) return
    const note = notes.find(({ from, to }) => from <= position && position <= to)
    if (note) {
      place.removed = { atMs: this.scheduler.nowMs, as: note.reason }
      this.journal.count(note.reason)
    } else if (this.routed.has(place.text)) {
      place.removed = { atMs: this.scheduler.nowMs, as: 'routed' }
    } else {
      this.journal.violate('G3', `sequence ${place.sequence} left the outbox and had reached no queue`)
    }
  }

  /** G7: what makes room is the oldest of the lowest lane that nobody has in his hands, and that proves nothing (G8). */
  private checkEviction(before: readonly Place[]): void {
    const evicted = before.filter(({ removed }) => removed?.as === 'evicted')
    if (evicted.length === 0) return
    const spared = before.filter(
      ({ removed, type, position }) =>
        removed === undefined &&
        ![ledgerType, checkpointType, schemasType].includes(type) &&
        !this.hands.hold(position),
    )
    for (const { lane, position, sequence } of evicted) {
      const first = spared.find((other) =>
        other.lane === lane ? other.position < position : other.lane === 'normal',
      )
      if (!first) continue
      this.journal.violate('G7', `sequence ${sequence} was evicted before ${first.sequence}`)
    }
  }

  private read(stored: StoredEvent, steadyMs: number | undefined): Place {
    const {
      position,
      lane,
      text,
      sequence,
      deviceId: device,
      type,
      deadlineSteadyMs,
      admittedSteadyMs,
    } = stored
    const event = JSON.parse(text) as { epoch: string; source: string; id: string }
    return {
      position,
      epoch: event.epoch,
      sequence,
      key: eventKey(event),
      device,
      type,
      lane,
      text,
      admittedMs: this.writeAskedMs - ((steadyMs ?? admittedSteadyMs) - admittedSteadyMs),
      ttlMs: deadlineSteadyMs === undefined ? undefined : deadlineSteadyMs - admittedSteadyMs,
      removed: undefined,
    }
  }

  /** The edge let go of it undelivered, and said so: it may have reached some queues while others refused it. */
  gaveUp(key: string): boolean {
    return [...this.places.values()].some(
      ({ key: other, removed }) => other === key && removed !== undefined && removed.as !== 'routed',
    )
  }

  reachedQueue(event: Pick<Queued, 'text'>): void {
    if (this.routed.has(event.text)) this.routedAgain.add(event.text)
    this.routed.add(event.text)
  }
}

interface Note {
  from: number
  to: number
  reason: Undelivered
}
