import type { Usage } from '../layout/usage.ts'
import type { QuotaOptions } from '../options.ts'
import type { Lane, QuotaReason } from '../outbox.ts'

/** QoS 0 is shed here, before QoS 1 has to wait. */
const qos0Part = 0.95

/** The bounds, and what follows from their parts, in whole events and bytes. */
export type Quota = Pick<QuotaOptions, 'eventsMax' | 'bytesMax' | 'deviceMinimum' | 'reservedShare'>

export function totalUsage(depth: Record<Lane, number>, bytes: Record<Lane, number>): Usage {
  return { events: depth.high + depth.normal, bytes: bytes.high + bytes.normal }
}

/** What only devices below their minimum may use. */
export function reservedOf({ eventsMax, bytesMax, reservedShare }: Quota): Usage {
  return { events: Math.floor(eventsMax * reservedShare), bytes: Math.floor(bytesMax * reservedShare) }
}

/** Up to here a device may use what is reserved. */
export function minimumOf({ eventsMax, bytesMax, deviceMinimum }: Quota): Usage {
  return {
    events: Math.max(1, Math.floor(eventsMax * deviceMinimum)),
    bytes: Math.floor(bytesMax * deviceMinimum),
  }
}

/** Of a device that has nothing queued: an event up to this is within its minimum, however little that is. */
export const firstEventBytesMax = 4096

/** Whether a device stays within its minimum with so many bytes more. */
export function isWithinMinimum(quota: Quota, device: Usage, bytes: number): boolean {
  if (device.events === 0 && bytes <= firstEventBytesMax) return true
  const minimum = minimumOf(quota)
  return device.events + 1 <= minimum.events && device.bytes + bytes <= minimum.bytes
}

/**
 * The bound that one more event of a device would break, if any. An empty outbox always takes one. A device's own share comes
 * first: whoever meets it makes no room at the cost of others.
 */
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
  // With all of the bounds for its share, the bounds themselves are what it meets.
  const share = quota.deviceShare < 1 && device.events > 0 ? quota.deviceShare * part : Infinity
  if (device.events + 1 > quota.eventsMax * share) return 'device-share'
  if (device.bytes + submission.bytes > quota.bytesMax * share) return 'device-share'
  const events = total.events + 1
  const bytes = total.bytes + submission.bytes
  const { eventsMax, bytesMax, reservedShare } = quota
  // Mostly there is room for all, and nobody's minimum need be looked at.
  const open = (1 - reservedShare) * part
  if (events <= eventsMax * open && bytes <= bytesMax * open) return undefined
  const reserved = isWithinMinimum(quota, device, submission.bytes) ? none : reservedOf(quota)
  if (events > (eventsMax - reserved.events) * part) return 'events'
  if (bytes > (bytesMax - reserved.bytes) * part) return 'bytes'
  return undefined
}

const none: Usage = { events: 0, bytes: 0 }
