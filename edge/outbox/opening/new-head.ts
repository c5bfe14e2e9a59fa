import { genesis } from '../../../src/contract/codec.ts'
import { type Head, storeVersion } from '../layout/head.ts'

export interface Identity {
  gateway: string
  /** A new ULID for each call. */
  newEpoch(): string
}

/** The head of an epoch that begins behind position `base`. */
export function newHead(identity: Identity, base: number): Head {
  const epoch = identity.newEpoch()
  return {
    version: storeVersion,
    gateway: identity.gateway,
    epoch,
    epochBase: base,
    earlier: [],
    position: base,
    chain: genesis(identity.gateway, epoch),
    depth: { high: 0, normal: 0 },
    bytes: { high: 0, normal: 0 },
    newest: { high: base, normal: base },
    first: { high: base + 1, normal: base + 1 },
    generation: { number: 1, count: 0, openedSteadyMs: 0 },
    steadyMs: 0,
    wallMs: 0,
    credits: [],
    undatedFrom: null,
    signed: null,
    schemas: null,
    clean: false,
  }
}
