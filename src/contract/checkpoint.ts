import type { KeyObject } from 'node:crypto'
import { z } from 'zod'
import { signed, type Signed, signStatement, type SignatureAlgorithm, verifyStatement } from './signature.ts'

/** The type of a gateway's signature of its own ledger: an event of that ledger like any other (G8). */
export const checkpointType = 'dev.tidegate.checkpoint'

/** No checkpoint stands further behind the sequence that it signs: how many chain values its reader keeps (G7). */
export const checkpointDistanceMax = 65_536

/** The head of a ledger's chain as it was at a time: what is signed. */
export interface ChainHead {
  epoch: string
  sequence: number
  /** The chain value of that sequence. */
  chain: string
  /** RFC 3339; the gateway's clock at signing. */
  time: string
  /** A gateway at work signs again after so many events, at the latest. */
  everyEvents: number
  /** The fingerprint of the key before this one, in the first checkpoint after the key has changed. */
  formerKey?: string
}

/** Data of a `dev.tidegate.checkpoint` event. */
export interface Checkpoint extends ChainHead, Signed {}

/** The bytes that are signed: they begin with what they are, so that no signature of anything else is one of a checkpoint. */
export function statementOf(gateway: string, head: ChainHead): Buffer {
  const { epoch, sequence, chain, time, everyEvents, formerKey = '-' } = head
  const lines = ['tidegate checkpoint v1', gateway, epoch, sequence, chain, time, everyEvents, formerKey, '']
  return Buffer.from(lines.join('\n'))
}

export function signHead(
  gateway: string,
  head: ChainHead,
  privateKey: KeyObject,
  algorithm: SignatureAlgorithm,
): Promise<string> {
  return signStatement(statementOf(gateway, head), privateKey, algorithm)
}

/** Whether this key has signed it, for this gateway. */
export function verifyCheckpoint(gateway: string, checkpoint: Checkpoint, publicKey: KeyObject): boolean {
  return verifyStatement(statementOf(gateway, checkpoint), checkpoint, publicKey)
}

/** Whatever a line of the statement holds has no line break in it. */
export const checkpointSchema: z.ZodType<Checkpoint> = z.object({
  epoch: z.string().regex(/^[0-9A-HJKMNP-TV-Z]{26}$/),
  sequence: z.int().min(1),
  chain: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
  time: z.iso.datetime(),
  everyEvents: z.int().min(1),
  formerKey: signed.key.exactOptional(),
  ...signed,
})

/** The data of a checkpoint event, or undefined if this version cannot read it. */
export function readCheckpoint(data: unknown): Checkpoint | undefined {
  return checkpointSchema.safeParse(data).data
}
