import type { Random } from '../../../src/clock.ts'
import { pick } from './random.ts'

/** Within a window and over its edge, whatever its length is: a second, a minute, a quarter of an hour, an hour, a day. */
const gapsMs = [1, 1_000, 59_999, 60_000, 900_000, 3_600_000, 86_400_000] as const

/**
 * When the events of a case were, in ms from its beginning, by their devices: later and later, some at the moment of another device's, some
 * late, which is before what their device has sent already. No device has two at one moment; there are never more than so many days.
 */
export function timesOf(devices: readonly string[], random: Random): number[] {
  const latest = new Map<string, number>()
  const taken = new Set<string>()
  let nowMs = 0
  return devices.map((device) => {
    const kind = pick(random, ['on', 'on', 'on', 'on', 'equal', 'equal', 'late'])
    const last = latest.get(device)
    const isEqual = kind === 'equal' && last !== nowMs
    if (!isEqual && kind !== 'late') nowMs += pick(random, gapsMs)
    let atMs = kind === 'late' && last !== undefined ? Math.max(0, last - pick(random, gapsMs)) : nowMs
    while (taken.has(`${device} ${atMs}`)) atMs++
    taken.add(`${device} ${atMs}`)
    latest.set(device, Math.max(last ?? 0, atMs))
    nowMs = Math.max(nowMs, atMs)
    return atMs
  })
}
