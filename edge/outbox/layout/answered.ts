import { crc32 } from 'node:zlib'
import type { Head } from './head.ts'

/**
 * The last place of the ledger that anybody was told of. It is kept beside the store, so that after damage to the newest
 * writes it is known which acknowledged events they held (G1, G2).
 */
export interface Answered {
  epoch: string
  /** As of the head: sequence = position - epochBase. */
  epochBase: number
  position: number
  /** As of the head, then: how many events waited, and below which place none of them stood. */
  depth: Head['depth']
  first: Head['first']
  /** The outbox was closed in order after it: nobody was told of anything later. */
  closed: boolean
}

/** Every word is overwritten by the next one in place, so all are as long as the longest. */
const wordLength = 320

export function encodeAnswered(head: Head, { closed }: { closed: boolean }): string {
  const { epoch, epochBase, position, depth, first } = head
  const json = JSON.stringify({ epoch, epochBase, position, depth, first, closed } satisfies Answered)
  return `${crc32(json).toString(36)} ${json}`.padEnd(wordLength)
}

/** undefined: there is none, or it was altered. */
export function decodeAnswered(word: string | undefined): Answered | undefined {
  const [, checksum, json] = /^([0-9a-z]+) (\{.*\}) *$/s.exec(word ?? '') ?? []
  if (json === undefined || crc32(json).toString(36) !== checksum) return undefined
  return JSON.parse(json) as Answered
}
