import type { Usage } from '../layout/usage.ts'
import type { QuotaOptions } from '../options.ts'
import type { Lane, QuotaReason } from '../outbox.ts'

/** QoS 0 is shed here, before QoS 1 has to wait. */
const qos0Part = 0.95

export function totalUsage(depth: Record<Lane, number>, bytes: Record<Lane, number>): Usage {
  return { events: depth.high + depth.normal, bytes: bytes.high + bytes.normal }
}

/** The bound that one more event of a device would break, if any. An empty outbox always takes one. */
export function boundMet(
  quota: QuotaOptions,
  total: Usage,
  device: Usage,
  diskFreeBytes: number,
  submission: { bytes: number; qos: 0 | 1 | 2 },
): QuotaReason | undefined {
  const part = submission.qos === 0 ? qos0Part : 1
  if (diskFreeBytes < quota.diskFreeBytesMin / part) return 'disk-free'
  if (total.events === 0) return undefined
  if (total.events + 1 > quota.eventsMax * part) return 'events'
  if (total.bytes + submission.bytes > quota.bytesMax * part) return 'bytes'
  if (device.events === 0) return undefined
  if (device.events + 1 > quota.eventsMax * quota.deviceShare * part) return 'device-share'
  if (device.bytes + submission.bytes > quota.bytesMax * quota.deviceShare * part) return 'device-share'
  return undefined
}
