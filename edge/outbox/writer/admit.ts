import type { Admission, QuotaReason } from '../outbox.ts'
import type { Core } from './core.ts'
import type { Draft } from './draft.ts'
import type { Pending } from '../rules/holding.ts'
import { boundMet, totalUsage } from '../rules/quota.ts'
import { evictInto, removeUndelivered, stillDue } from './removal.ts'

/** Appends what is new and fits; returns the hashes to remember. Callers are answered by `settle`. */
export async function admitInto(
  core: Core,
  draft: Draft,
  arrived: Pending[],
  settle: (() => void)[],
): Promise<string[]> {
  const { holding } = core
  const waited = holding.next(core.options.batchEventsMax)
  const pendings = [...waited, ...arrived]
  if (pendings.length === 0) return []
  const overtakes = (pending: Pending, index: number): boolean =>
    index >= waited.length && holding.has(pending.submission.candidate.partitionkey)
  const { clock, observer, quota } = core.options
  const { dedup } = core.state
  const steadyMs = core.steady.now()
  const recordedAtMs = clock.now()
  const recordedTime = new Date(recordedAtMs).toISOString()
  const remembered = await dedup.remembered(pendings.map(({ hash }) => hash))
  dedup.rotate(draft.head, steadyMs, draft.operations)
  const hashes = new Set<string>()
  const blockedDevices = new Set<string>()
  let blocked: QuotaReason | undefined

  for (const [index, pending] of pendings.entries()) {
    const { candidate, lane, qos, ttlMs } = pending.submission
    const answer = (admission: Admission): void => {
      settle.push(() => {
        holding.drop(pending)
        observer.admitted(admission.kind)
        pending.resolve(admission)
      })
    }
    const refuse = (reason: QuotaReason): void => {
      if (qos === 0) answer({ kind: 'shed', reason })
      settle.push(() => {
        if (qos === 0 || holding.hold(pending, reason)) observer.refused(reason, 1)
      })
    }
    const device = candidate.partitionkey
    if (remembered[index] || hashes.has(pending.hash)) {
      answer({ kind: 'duplicate' })
      continue
    }
    // A device's events keep their order: behind one that waits, all wait.
    const behind = overtakes(pending, index) ? holding.reason : undefined
    const standing = blocked ?? (blockedDevices.has(device) ? 'device-share' : behind)
    if (standing !== undefined) {
      refuse(standing)
      continue
    }
    const encoded = draft.encode(candidate, recordedTime)
    const bytes = Buffer.byteLength(encoded.text)
    const bound = (): QuotaReason | undefined =>
      boundMet(
        quota,
        totalUsage(draft.head.depth, draft.head.bytes),
        draft.usageOf(device),
        core.diskFreeBytes,
        {
          bytes,
          qos,
        },
      )
    let reason = bound()
    // Nothing that was acknowledged makes room for what was not even promised. What is past its time needs none, but
    // whoever waits for it must not wait for room that nobody else may make.
    const mayEvict = (): boolean =>
      qos > 0 && quota.full === 'evict' && (reason === 'events' || reason === 'bytes')
    while (mayEvict()) {
      if (!(await evictInto(core, draft, bytes))) break
      reason = bound()
    }
    if (reason === undefined) {
      const event = draft.append(candidate, encoded, { lane, bytes, recordedAtMs, steadyMs, ttlMs })
      if (ttlMs === 0) removeUndelivered(core, draft, event, 'expired')
      else if (event.deadlineSteadyMs !== undefined) stillDue(core.state, event.deadlineSteadyMs)
      hashes.add(pending.hash)
      answer({ kind: 'accepted', sequence: event.sequence })
      continue
    }
    refuse(reason)
    if (qos === 0) continue
    if (reason === 'device-share') blockedDevices.add(device)
    else blocked = reason
  }
  return [...hashes]
}
