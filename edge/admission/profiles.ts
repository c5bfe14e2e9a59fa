import { eventTypePattern, isDevicePattern, isSystemType } from '../../src/contract/event.ts'
import type { Lane } from '../outbox/outbox.ts'

/** What a kind of devices may send. What is left out is not restricted. */
export interface Profile {
  /** IDs, or the beginning of IDs and a `*`. Absent in the profile `default` alone, which is for devices of no other. */
  devices?: readonly string[] | undefined
  /** Event types, or the beginning of types and a `*`. */
  types?: readonly string[] | undefined
  lanes?: readonly Lane[] | undefined
  /** What each of them may do in a second; what is left out is as it is for all. */
  limits?: ProfileLimits | undefined
}

export interface ProfileLimits {
  packetsPerSecond?: number | undefined
  bytesPerSecond?: number | undefined
  connectsPerSecond?: number | undefined
}

/** Of which devices no profile speaks. */
export const defaultProfile = 'default'

export interface NamedProfile {
  name: string
  /** Whether devices may use an event type, or a lane. */
  allowsType(type: string): boolean
  allowsLane(lane: Lane): boolean
  readonly limits: ProfileLimits
}

/**
 * The profile of a device; undefined: it is in none, and may send what any device may. Its ID goes before the beginning of one, and
 * a longer beginning before a shorter one, so that the order in the file makes no difference.
 */
export function createProfiles(
  configured: Readonly<Record<string, Profile>>,
): (deviceId: string) => NamedProfile | undefined {
  const entries = Object.entries(configured).map(([name, profile]) => ({
    ...profile,
    ...compile(name, profile),
  }))
  const byId = new Map<string, NamedProfile>()
  const byStart: { start: string; profile: NamedProfile }[] = []
  for (const profile of entries) {
    for (const device of profile.devices ?? []) {
      if (device.endsWith('*')) byStart.push({ start: device.slice(0, -1), profile })
      else byId.set(device, profile)
    }
  }
  byStart.sort((a, b) => b.start.length - a.start.length)
  if (entries.length === 0) return () => undefined
  const others = entries.find(({ name }) => name === defaultProfile)
  return (deviceId) =>
    byId.get(deviceId) ?? byStart.find(({ start }) => deviceId.startsWith(start))?.profile ?? others
}

function compile(name: string, { types, lanes, limits = {} }: Profile): NamedProfile {
  const exact = types && new Set(types)
  const starts = types?.filter((type) => type.endsWith('*')).map((type) => type.slice(0, -1))
  return {
    name,
    allowsType: (type) =>
      exact === undefined || exact.has(type) || starts?.some((start) => type.startsWith(start)) === true,
    allowsLane: (lane) => lanes === undefined || lanes.includes(lane),
    limits,
  }
}

export interface ProfileFault {
  path: (string | number)[]
  message: string
}

/** Everything wrong with the profiles, each fault with the keys that lead to it. */
export function profileFaults(profiles: Readonly<Record<string, Profile>>): ProfileFault[] {
  const faults: ProfileFault[] = []
  const profileOf = new Map<string, string>()
  for (const [name, { devices, types = [] }] of Object.entries(profiles)) {
    if (name === defaultProfile && devices !== undefined)
      faults.push({
        path: [name, 'devices'],
        message: `${name} is for devices of no other profile: leave it out`,
      })
    if (name !== defaultProfile && devices === undefined)
      faults.push({ path: [name, 'devices'], message: `is required: only ${defaultProfile} goes without` })
    for (const [index, device] of (devices ?? []).entries()) {
      const path = [name, 'devices', index]
      const other = profileOf.get(device)
      profileOf.set(device, name)
      if (!isDevicePattern(device))
        faults.push({ path, message: `${device} is neither a device ID nor the beginning of one and a *` })
      else if (other !== undefined) faults.push({ path, message: `${device} is in profile ${other} already` })
    }
    for (const [index, type] of types.entries()) {
      const message = faultOfType(type)
      if (message !== undefined) faults.push({ path: [name, 'types', index], message })
    }
  }
  return faults
}

function faultOfType(type: string): string | undefined {
  if (isSystemType(type)) return 'types under dev.tidegate are the gateway’s own'
  // What a * stands for begins after a dot or within a name.
  if (eventTypePattern.test(type.replace(/\*$/, 'x'))) return undefined
  return 'must be an event type such as com.acme.climate, or the beginning of types and a * such as com.acme.*'
}
