import { createPublicKey, type KeyObject } from 'node:crypto'

/** `suspended`: nothing that it publishes is believed. */
export type GatewayState = 'active' | 'suspended'

export interface RegisteredGateway {
  name: string
  state: GatewayState
  /** Since when it is in that state, ms since the Unix epoch. */
  sinceMs: number
  /** Another whenever it is said anew of which devices it may speak; null: nobody has said it yet. */
  devicesVersion: string | null
}

/** A key with which a gateway signs its ledger. */
export interface GatewayKey {
  gateway: string
  fingerprint: string
  /** SubjectPublicKeyInfo, PEM. */
  publicKey: string
  /** When it was registered. What it signed before is believed too, as far as the gateway’s clock goes. */
  sinceMs: number
  /** Signatures that are dated later are not believed; null: it is in use. */
  untilMs: number | null
}

/** A gateway is called `gateway` and was called `former`. */
export interface FormerName {
  former: string
  gateway: string
}

/** Who the gateways are, as of a moment. */
export interface Registry {
  readonly gateways: readonly RegisteredGateway[]
  readonly names: readonly FormerName[]
  /** Undefined: nobody has registered it. One that is suspended is so under all names that it has or had. */
  stateOf(gateway: string): GatewayState | undefined
  keysOf(gateway: string): readonly GatewayKey[]
  /** Whether one who is called `speaker` may speak of the ledgers of `owner`: it is that gateway, or was called so before. */
  maySpeakOf(speaker: string, owner: string): boolean
}

export interface RegistryRows {
  gateways: readonly RegisteredGateway[]
  keys: readonly GatewayKey[]
  names: readonly FormerName[]
}

export function registryOf({ gateways, keys, names }: RegistryRows): Registry {
  const states = new Map(gateways.map(({ name, state }) => [name, state]))
  for (const name of suspendedNames(gateways, names)) states.set(name, 'suspended')
  const laterNames = new Map(names.map(({ former, gateway }) => [former, gateway]))
  return {
    gateways,
    names,
    stateOf: (gateway) => states.get(gateway),
    keysOf: (name) => keys.filter(({ gateway }) => gateway === name),
    maySpeakOf(speaker, owner) {
      const seen = new Set<string>()
      for (let name: string | undefined = owner; name !== undefined && !seen.has(name);) {
        if (name === speaker) return true
        seen.add(name)
        name = laterNames.get(name)
      }
      return false
    },
  }
}

/** With every name that one of them has or had. */
function suspendedNames(
  gateways: readonly RegisteredGateway[],
  names: readonly FormerName[],
): ReadonlySet<string> {
  const suspended = new Set(gateways.filter(({ state }) => state === 'suspended').map(({ name }) => name))
  for (let before = -1; suspended.size !== before;) {
    before = suspended.size
    for (const { former, gateway } of names)
      if (suspended.has(former) || suspended.has(gateway)) suspended.add(former).add(gateway)
  }
  return suspended
}

/** Nobody has registered any gateway. */
export const emptyRegistry = registryOf({ gateways: [], keys: [], names: [] })

/** Parsed once each: an audit meets the same few again and again. */
const parsed = new Map<string, KeyObject | undefined>()

/** Undefined: what is registered is no public key. */
export function keyObjectOf({ publicKey }: Pick<GatewayKey, 'publicKey'>): KeyObject | undefined {
  if (!parsed.has(publicKey)) parsed.set(publicKey, parse(publicKey))
  return parsed.get(publicKey)
}

function parse(publicKey: string): KeyObject | undefined {
  try {
    return createPublicKey(publicKey)
  } catch {
    return undefined
  }
}
