import type { Encoded, WrittenCandidate } from '../../../src/contract/codec.ts'
import type { EngineOptions } from '../options.ts'
import type { Admission, QuotaReason } from '../outbox.ts'
import type { Core } from './core.ts'
import type { Draft } from './draft.ts'
import type { Arrival, Pending } from '../rules/arrival.ts'
import type { Holding } from '../rules/holding.ts'
import { boundMet, isWithinMinimum, totalUsage } from '../rules/quota.ts'
import { busyError } from './writer-state.ts'
import { evictInto, removeUndelivered, stillDue } from './removal.ts'

/** How the line stands when an arrival comes. */
interface Line {
  /** So many more may wait in it. */
  room: number
  /** The store fails: nobody knows how long the line waits. */
  failing: boolean
  refusing: QuotaReason | undefined
  /** Who waits at a bound already. */
  holding: Pick<Holding, 'has'>
}

/**
 * Those of an arrival that get in line; the others are shed or given up, by their QoS. The last part of the line is for devices of
 * which none waits at a bound yet, as that of the outbox is for those that have little there.
 */
export function letIn(
  { waitingMax, observer, quota }: Pick<EngineOptions, 'waitingMax' | 'observer' | 'quota'>,
  arrival: Arrival,
  { room, failing, refusing, holding }: Line,
): readonly Pending[] {
  const reserved = Math.floor(waitingMax * quota.reservedShare)
  if (!failing && arrival.pendings.length <= room - reserved) return arrival.pendings
  const inLine: Pending[] = []
  for (const pending of arrival.pendings) {
    const isWaiting = holding.has(pending.submission.candidate.partitionkey)
    const isFull = inLine.length >= (isWaiting ? room - reserved : room)
    if (pending.submission.qos === 0 && (failing || isFull)) {
      const reason = refusing ?? 'store-failed'
      observer.refused(reason, 1)
      observer.admitted('shed', 1)
      arrival.answer(pending, { kind: 'shed', reason })
    } else if (isFull) {
      observer.refused('waiting', 1)
      arrival.giveUp(pending, busyError(waitingMax))
    } else {
      if (failing) observer.refused('store-failed', 1)
      inLine.push(pending)
    }
  }
  arrival.tell()
  return inLine
}

/** Appends what is new and fits. Once the write has landed, `settle` answers the callers. */
export async function admitInto(core: Core, draft: Draft, arrived: readonly Pending[]): Promise<Admissions> {
  const { holding } = core
  const admissions = new Admissions(core, draft)
  const isSmall = (deviceId: string): boolean =>
    isWithinMinimum(core.options.quota, draft.usageOf(deviceId), 0)
  const waited = holding.next(core.options.batchEventsMax, isSmall)
  const pendings = waited.length === 0 ? arrived : [...waited, ...arrived]
  if (pendings.length === 0) return admissions
  const { dedup } = core.state
  const remembered = await dedup.remembered(pendings.map(({ hash }) => hash))
  dedup.rotate(draft.head, admissions.steadyMs, draft.operations)
  for (let index = 0; index < pendings.length; index += 1) {
    const pending = pendings[index] as Pending
    if (remembered[index] || admissions.hashes.has(pending.hash)) {
      admissions.answer(pending, { kind: 'duplicate' })
      continue
    }
    // A device's events keep their order: behind one that waits, all wait.
    const overtakes = index >= waited.length && holding.has(pending.submission.candidate.partitionkey)
    const standing = admissions.boundOf(pending) ?? (overtakes ? holding.reason : undefined)
    if (standing !== undefined) {
      admissions.refuse(pending, standing)
      continue
    }
    const encoded = admissions.encode(pending.submission.candidate)
    const bytes = bytesOf(encoded.text, pending.submission.candidate.text)
    let reason = admissions.boundMet(pending, bytes)
    while (admissions.mayEvict(pending, reason) && (await evictInto(core, draft, bytes)))
      reason = admissions.boundMet(pending, bytes)
    if (reason === undefined) admissions.append(pending, encoded, bytes)
    else admissions.block(pending, reason)
  }
  return admissions
}

/** Of an event's text in UTF-8. What it has more than its candidate is ASCII, and need not be looked at. */
function bytesOf(text: string, candidate: string): number {
  return Buffer.byteLength(candidate) + text.length - candidate.length
}

/** What becomes of the submissions of one draft, all at the same moment. */
export class Admissions {
  readonly steadyMs: number
  /** Of what was appended. */
  readonly hashes = new Set<string>()
  readonly #core: Core
  readonly #draft: Draft
  readonly #answers: { pending: Pending; admission: Admission }[] = []
  readonly #refusals: { pending: Pending; reason: QuotaReason }[] = []
  readonly #recordedAtMs: number
  readonly #recordedTime: string
  /** A bound that the rest will meet too, whoever's they are. */
  #blocked: QuotaReason | undefined
  /** A bound that the rest will meet too, but for those within their minimum, who may use what is reserved. */
  #blockedForMost: QuotaReason | undefined
  /** A device's events keep their order (G6): behind one that met a bound, whichever, all of its wait. */
  readonly #blockedDevices = new Map<string, QuotaReason>()

  constructor(core: Core, draft: Draft) {
    this.#core = core
    this.#draft = draft
    this.steadyMs = core.steady.now()
    this.#recordedAtMs = core.options.clock.now()
    this.#recordedTime = new Date(this.#recordedAtMs).toISOString()
  }

  /** A bound that was met already by one before it. */
  boundOf({ submission }: Pending): QuotaReason | undefined {
    if (this.#blocked !== undefined) return this.#blocked
    const { partitionkey } = submission.candidate
    const own = this.#blockedDevices.get(partitionkey)
    if (own !== undefined) return own
    return this.#blockedForMost !== undefined && !this.#isWithinMinimum(partitionkey, 0)
      ? this.#blockedForMost
      : undefined
  }

  encode(candidate: WrittenCandidate): Encoded {
    return this.#draft.encode(candidate, this.#recordedTime)
  }

  boundMet({ submission }: Pending, bytes: number): QuotaReason | undefined {
    const { depth, bytes: bytesOf } = this.#draft.head
    return boundMet(
      this.#core.options.quota,
      totalUsage(depth, bytesOf),
      this.#draft.usageOf(submission.candidate.partitionkey),
      this.#core.diskFreeBytes,
      { bytes, qos: submission.qos },
    )
  }

  /**
   * Nothing that was acknowledged makes room for what was not even promised. What is past its time needs none, but
   * whoever waits for it must not wait for room that nobody else may make.
   */
  mayEvict({ submission }: Pending, reason: QuotaReason | undefined): boolean {
    const mayMakeRoom = submission.qos > 0 && this.#core.options.quota.full === 'evict'
    return mayMakeRoom && (reason === 'events' || reason === 'bytes')
  }

  append(pending: Pending, encoded: Encoded, bytes: number): void {
    const { candidate, lane, ttlMs } = pending.submission
    const place = { lane, bytes, recordedAtMs: this.#recordedAtMs, steadyMs: this.steadyMs, ttlMs }
    const event = this.#draft.append(candidate, encoded, place)
    if (ttlMs === 0) removeUndelivered(this.#core, this.#draft, event, 'expired')
    else if (event.deadlineSteadyMs !== undefined) stillDue(this.#core.state, event.deadlineSteadyMs)
    this.hashes.add(pending.hash)
    this.answer(pending, { kind: 'accepted', sequence: event.sequence })
  }

  /**
   * It met this bound. Its device's later events must not overtake it (G6), and what stands behind it must not take the room it
   * waits for; but whoever is within its minimum may, with an event that fits: that room is not for one of them alone.
   */
  block(pending: Pending, reason: QuotaReason): void {
    const { qos, candidate } = pending.submission
    this.refuse(pending, reason)
    if (qos === 0) return
    this.#blockedDevices.set(candidate.partitionkey, reason)
    if (reason === 'device-share') return
    if (reason === 'disk-free' || this.#core.options.quota.reservedShare === 0) this.#blocked = reason
    else this.#blockedForMost = reason
  }

  refuse(pending: Pending, reason: QuotaReason): void {
    if (pending.submission.qos === 0) this.answer(pending, { kind: 'shed', reason })
    this.#refusals.push({ pending, reason })
  }

  answer(pending: Pending, admission: Admission): void {
    this.#answers.push({ pending, admission })
  }

  #isWithinMinimum(deviceId: string, bytes: number): boolean {
    return isWithinMinimum(this.#core.options.quota, this.#draft.usageOf(deviceId), bytes)
  }

  /** Answers each, and holds those that met a bound. */
  settle(): void {
    const { holding, options } = this.#core
    const counts: Record<Admission['kind'], number> = { accepted: 0, duplicate: 0, shed: 0 }
    const arrivals = new Set<Arrival>()
    for (const { pending, admission } of this.#answers) {
      holding.drop(pending)
      pending.arrival.answer(pending, admission)
      counts[admission.kind] += 1
      arrivals.add(pending.arrival)
    }
    for (const { pending, reason } of this.#refusals) {
      const isShed = pending.submission.qos === 0
      if (isShed || holding.hold(pending, reason)) options.observer.refused(reason, 1)
    }
    for (const kind of ['accepted', 'duplicate', 'shed'] as const)
      if (counts[kind] > 0) options.observer.admitted(kind, counts[kind])
    for (const arrival of arrivals) arrival.tell()
  }
}
