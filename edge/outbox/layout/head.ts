import { crc32 } from 'node:zlib'
import type { SchemasUsed } from '../../../src/contract/schemas-used.ts'
import { TidegateError } from '../../../src/errors.ts'
import type { Lane } from '../outbox.ts'

/** The layout this code writes. A folder with a higher number is refused, never guessed at. */
export const storeVersion = 2

/**
 * The head record: everything a restart needs, so that opening takes the same time at any backlog. Written in
 * the same atomic write as whatever it counts (invariant I2).
 */
export interface Head {
  version: number
  gateway: string
  epoch: string
  /** Position before the epoch's first event: sequence = position - epochBase. */
  epochBase: number
  /** Earlier epochs of which something was queued when this one began, oldest first. */
  earlier: { epoch: string; epochBase: number }[]
  /** Last position given out. */
  position: number
  /** Chain value of the epoch's last event. */
  chain: string
  depth: Record<Lane, number>
  bytes: Record<Lane, number>
  /** No event of the lane lies above this position: how a reader knows without looking that there is none. */
  newest: Record<Lane, number>
  /** No queued event of the lane lies before this position: where to seek, past old tombstones. */
  first: Record<Lane, number>
  generation: { number: number; count: number; openedSteadyMs: number }
  steadyMs: number
  wallMs: number
  /** From this position on events are dated without time spent off that is still to be added; null: none is. */
  undatedFrom: number | null
  /** Positions that were dated before the time spent off was added to the steady clock, and how much that was. */
  credits: { from: number; to: number; ms: number }[]
  /** The position up to which the newest checkpoint signs, which may be of an earlier epoch, and the fingerprint of its key; null: there is none. */
  signed: { through: number; key: string } | null
  /** The schemas that the newest `dev.tidegate.schemas` event names; null: there is none. */
  schemas: SchemasUsed | null
  /** Written by an orderly close, taken back by the first write after opening. */
  clean: boolean
}

/** How much later than its dates say an event was admitted, by the steady clock as it is now. */
export function creditOf({ credits }: Head, position: number): number {
  return credits.reduce((sum, { from, to, ms }) => (from <= position && position <= to ? sum + ms : sum), 0)
}

export function sequenceOf(head: Head, position: number): number {
  return position - head.epochBase
}

/** `<version> <checksum>\n<JSON>`: the first line stays readable whatever the layout becomes. */
export function encodeHead(head: Head): string {
  const json = JSON.stringify(head)
  return `${head.version} ${crc32(json).toString(36)}\n${json}`
}

/**
 * undefined: there is none, or it was altered.
 * @throws TidegateError `STORE_NEWER`
 */
export function decodeHead(value: string | undefined): Head | undefined {
  const [, version, checksum, json] = /^(\d+) ([0-9a-z]+)\n(.*)$/s.exec(value ?? '') ?? []
  if (version === undefined || json === undefined || crc32(json).toString(36) !== checksum) return undefined
  const head = {
    credits: [],
    undatedFrom: null,
    signed: null,
    schemas: null,
    ...(JSON.parse(json) as Partial<Head>),
  } as Head
  // The checksum covers the version that stands in the JSON: one digit of the other that was altered makes no newer version.
  if (Number(version) !== (head.version ?? Number(version))) return undefined
  if (Number(version) <= storeVersion) return head
  throw new TidegateError('STORE_NEWER', {
    message: `the outbox was written by a newer version: its layout is ${version}, and this one reads up to ${storeVersion}`,
    retryable: false,
    hint: 'run that version, or a later one, on it; to go on with this one let it run empty there first and move the outbox folder away; nothing of it was changed',
  })
}
