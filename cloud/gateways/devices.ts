import type { FormerName } from './registry.ts'

/** How many patterns may be registered, of all gateways: a cloud holds them in memory, some 160 bytes each. */
export const patternsMax = 1_000_000

/**
 * Devices, by their IDs and by the beginnings of IDs (a pattern that ends with an asterisk). Looking one up takes as many steps as the
 * beginnings have different lengths (65 at most), however many patterns there are.
 */
export class DevicePatterns {
  readonly #patterns = new Set<string>()
  /** Of the patterns with an asterisk, in characters with it. */
  readonly #lengths = new Set<number>()

  constructor(patterns: Iterable<string> = []) {
    for (const pattern of patterns) this.add(pattern)
  }

  add(pattern: string): void {
    this.#patterns.add(pattern)
    if (pattern.endsWith('*')) this.#lengths.add(pattern.length)
  }

  get size(): number {
    return this.#patterns.size
  }

  covers(device: string): boolean {
    if (this.#patterns.has(device)) return true
    for (const length of this.#lengths) if (this.#patterns.has(`${device.slice(0, length - 1)}*`)) return true
    return false
  }

  [Symbol.iterator](): Iterator<string> {
    return this.#patterns.values()
  }
}

/** Of which devices each gateway may speak (G9), as of a moment. Several may speak of the same: devices roam, and gateways are replaced. */
export interface RegisteredDevices {
  /** Of how many gateways somebody has said it. */
  readonly size: number
  /** Undefined: nobody has said it of that gateway, under any of its names. */
  maySpeakFor(gateway: string, device: string): boolean | undefined
  /** In order, each once. */
  patternsOf(gateway: string): string[]
}

/**
 * A gateway that was renamed is one gateway: what is registered under one of its names holds under each, since what it took in under its
 * former name may come long after.
 */
export function registeredDevices(
  read: ReadonlyMap<string, { patterns: DevicePatterns }>,
  names: readonly FormerName[],
): RegisteredDevices {
  const listed = new Map<string, DevicePatterns[]>()
  for (const [gateway, { patterns }] of read) if (patterns.size > 0) listed.set(gateway, [patterns])
  for (const [name, all] of namesOfEach(names)) {
    const lists = [...all].flatMap((each) => read.get(each)?.patterns ?? [])
    if (lists.some(({ size }) => size > 0)) listed.set(name, lists)
  }
  return {
    size: listed.size,
    maySpeakFor: (gateway, device) => listed.get(gateway)?.some((patterns) => patterns.covers(device)),
    patternsOf: (gateway) =>
      [...new Set((listed.get(gateway) ?? []).flatMap((patterns) => [...patterns]))].toSorted(),
  }
}

/** All names of a gateway, this one too. */
export function namesOf(gateway: string, names: readonly FormerName[]): string[] {
  return [...(namesOfEach(names).get(gateway) ?? [gateway])]
}

function namesOfEach(names: readonly FormerName[]): Map<string, Set<string>> {
  const same = new Map<string, Set<string>>()
  for (const { former, gateway } of names) {
    const all = new Set([...(same.get(former) ?? [former]), ...(same.get(gateway) ?? [gateway])])
    for (const name of all) same.set(name, all)
  }
  return same
}

/** Nobody has said of which devices any gateway may speak. */
export const noDevices = registeredDevices(new Map(), [])
