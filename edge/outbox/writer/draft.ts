import { encodeCandidate, type Encoded, type WrittenCandidate } from '../../../src/contract/codec.ts'
import type { Undelivered } from '../../../src/contract/event.ts'
import { bothLanes, type Lane } from '../outbox.ts'
import type { StoreOperation } from '../../store/store.ts'
import type { Lanes } from '../rules/lanes.ts'
import { blockOf, cut, encodeBlock } from '../layout/block.ts'
import type { Gone } from '../layout/gone.ts'
import { deviceKey, expiryKey, headKey, present } from '../layout/keys.ts'
import { encodeHead, type Head, sequenceOf, storeVersion } from '../layout/head.ts'
import { encodeUsage, type Usage } from '../layout/usage.ts'
import type { NewEvent, Slot, StoredEvent } from '../layout/record.ts'

/** What a draft starts from. */
export interface Counted {
  head: Head
  devices: ReadonlyMap<string, Usage>
  gone: Gone
}

/**
 * One atomic write in the making: the operations and the head as it will be. Nothing that lives on changes
 * until the write has landed (invariant I2), so a failed write costs a reload and nothing else.
 */
export class Draft {
  readonly operations: StoreOperation[] = []
  private touched = false
  private hurry = false
  readonly head: Head
  readonly appended: NewEvent[] = []
  readonly removed = new Set<number>()
  readonly undelivered = new Map<Undelivered, number>()
  /** How far eviction has looked in each lane, by these cursors. */
  private evicted: { cursors: Lanes; to: Record<Lane, number> } | undefined
  payloadBytes = 0
  private readonly devices: ReadonlyMap<string, Usage>
  private readonly gone: Gone
  /** What leaves its block. */
  private readonly leaving: Slot[] = []
  private readonly changed = new Map<string, Usage>()
  private left: () => void = () => {}

  constructor({ head, devices, gone }: Counted) {
    this.head = {
      ...head,
      version: storeVersion,
      depth: { ...head.depth },
      bytes: { ...head.bytes },
      newest: { ...head.newest },
      first: { ...head.first },
      credits: head.credits.filter(({ to }) => to >= Math.min(head.first.high, head.first.normal)),
      generation: { ...head.generation },
      clean: false,
    }
    this.devices = devices
    this.gone = gone
  }

  /**
   * How far eviction has looked in a lane. After a rewind (other cursors) that says nothing any more: what it passed
   * over as in flight is to be read again.
   */
  evictedTo(lane: Lane, cursors: Lanes): number {
    return this.evicted?.cursors === cursors ? this.evicted.to[lane] : 0
  }

  lookedAt(lane: Lane, cursors: Lanes, position: number): void {
    if (this.evicted?.cursors !== cursors) this.evicted = { cursors, to: { high: 0, normal: 0 } }
    this.evicted.to[lane] = position
  }

  /** Writes the head even if nothing else changes. */
  touch(): void {
    this.touched = true
  }

  /** Writes the head, and has it on the disk before anything goes on. */
  touchUrgently(): void {
    this.touched = true
    this.hurry = true
  }

  /**
   * Whether it must be on the disk before anything goes on: appends (G1), and what leaves undelivered, or a power cut
   * could bring it back behind what was sent since (G6).
   */
  get urgent(): boolean {
    return this.hurry || this.appended.length > 0 || this.undelivered.size > 0
  }

  get empty(): boolean {
    return this.operations.length + this.appended.length + this.leaving.length === 0 && !this.touched
  }

  usageOf(deviceId: string): Usage {
    return this.changed.get(deviceId) ?? this.devices.get(deviceId) ?? { events: 0, bytes: 0 }
  }

  /** The event in the next place of the ledger; the place is taken only by `append`. */
  encode(candidate: WrittenCandidate, recordedTime: string): Encoded {
    const { gateway, epoch, position, chain } = this.head
    const sequence = sequenceOf(this.head, position + 1)
    return encodeCandidate(candidate.text, { gateway, epoch, sequence, recordedtime: recordedTime }, chain)
  }

  append(
    candidate: WrittenCandidate,
    encoded: Encoded,
    place: { lane: Lane; bytes: number; recordedAtMs: number; steadyMs: number; ttlMs: number | undefined },
  ): NewEvent {
    const position = this.head.position + 1
    const event: NewEvent = {
      position,
      sequence: sequenceOf(this.head, position),
      lane: place.lane,
      deviceId: candidate.partitionkey,
      type: candidate.type,
      id: candidate.id,
      text: encoded.text,
      bytes: place.bytes,
      recordedAtMs: place.recordedAtMs,
      admittedSteadyMs: place.steadyMs,
      deadlineSteadyMs: place.ttlMs === undefined ? undefined : place.steadyMs + Math.round(place.ttlMs),
    }
    this.head.position = position
    this.head.newest[place.lane] = position
    this.head.chain = encoded.chain
    this.count(event, 1)
    this.payloadBytes += event.bytes
    this.appended.push(event)
    return event
  }

  /** Takes an event out of the store, delivered or not; one that this draft appended does not get there. */
  remove(event: StoredEvent | NewEvent): void {
    this.removed.add(event.position)
    if ('block' in event) this.leaving.push(event)
    this.count(event, -1)
  }

  /** Takes what cannot be read out of its block, uncounted. */
  discard(slots: readonly Slot[]): void {
    this.leaving.push(...slots)
  }

  /** Replaces every count by what was found in the store. */
  adopt(counts: Pick<Head, 'depth' | 'bytes'>, devices: ReadonlyMap<string, Usage>): void {
    Object.assign(this.head, { depth: { ...counts.depth }, bytes: { ...counts.bytes } })
    for (const deviceId of this.devices.keys()) this.changed.set(deviceId, { events: 0, bytes: 0 })
    for (const [deviceId, usage] of devices) this.changed.set(deviceId, { ...usage })
  }

  /** The operations, complete with what they count. */
  finish(steadyMs: number, wallMs: number): StoreOperation[] {
    for (const lane of bothLanes) this.putBlocks(lane)
    this.left = this.gone.leave(this.leaving, this.operations)
    for (const [deviceId, usage] of this.changed) {
      const key = deviceKey(deviceId)
      if (usage.events <= 0) this.operations.push({ type: 'del', key })
      else this.operations.push({ type: 'put', key, value: encodeUsage(usage) })
    }
    this.head.steadyMs = steadyMs
    this.head.wallMs = wallMs
    // First: it says of a write that is found cut short what that held.
    return [{ type: 'put', key: headKey, value: encodeHead(this.head) }, ...this.operations]
  }

  /** Carries over, once the write has landed, what is counted and what has left. */
  landed(devices: Map<string, Usage>): void {
    this.left()
    for (const [deviceId, usage] of this.changed) {
      if (usage.events <= 0) devices.delete(deviceId)
      else devices.set(deviceId, usage)
    }
  }

  private putBlocks(lane: Lane): void {
    const staying = this.appended.filter((event) => event.lane === lane && !this.removed.has(event.position))
    for (const events of cut(staying)) {
      const block = blockOf(events)
      this.operations.push({ type: 'put', key: block.key, value: encodeBlock(block, events) })
      for (const deadline of block.deadlines)
        this.operations.push({ type: 'put', key: expiryKey(deadline, block.last, lane), value: present })
    }
  }

  private count(event: NewEvent, sign: 1 | -1): void {
    const bytes = event.bytes * sign
    this.head.depth[event.lane] += sign
    this.head.bytes[event.lane] += bytes
    let usage = this.changed.get(event.deviceId)
    if (!usage) {
      usage = { ...this.usageOf(event.deviceId) }
      this.changed.set(event.deviceId, usage)
    }
    usage.events += sign
    usage.bytes += bytes
  }
}
