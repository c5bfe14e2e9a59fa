import {
  type Checkpoint,
  checkpointDistanceMax,
  readCheckpoint,
  verifyCheckpoint,
} from '../../src/contract/checkpoint.ts'
import { type GatewayKey, keyObjectOf } from '../gateways/registry.ts'
import { type AuditedEvent, type AuditFault, parseText } from './event.ts'
import type { LedgerName } from './notes.ts'

/** A checkpoint event as it is stored. */
export type StoredCheckpoint = Pick<AuditedEvent, 'sequence' | 'body'>

/** What a checkpoint event signs, with the key that it was verified with, if its gateway has any; or what is wrong with it. */
export type Judged =
  { checkpoint: Checkpoint; key: GatewayKey | undefined } | { wrong: Pick<AuditFault, 'kind' | 'detail'> }

export function judge(
  { sequence: at, body }: StoredCheckpoint,
  ledger: LedgerName,
  keys: readonly GatewayKey[],
): Judged {
  const checkpoint = readCheckpoint(parseText(body)?.['data'])
  if (checkpoint === undefined) return wrong('forged', 'what it signs cannot be read')
  const { epoch, sequence, time } = checkpoint
  const isBefore = sequence < at && at - sequence <= checkpointDistanceMax
  if (epoch !== ledger.epoch || !isBefore)
    return wrong('forged', `it signs ${epoch}/${sequence}, which it cannot speak of`)
  if (keys.length === 0) return { checkpoint, key: undefined }
  const key = keys.find(({ fingerprint }) => fingerprint === checkpoint.key)
  const because = key === undefined ? 'is not among those of its gateway' : whyUnusable(key, Date.parse(time))
  if (key === undefined || because !== undefined)
    return wrong('unknown-key', `it is signed ${time} with key ${checkpoint.key}, which ${because ?? ''}`)
  const publicKey = keyObjectOf(key)
  if (publicKey === undefined || !verifyCheckpoint(ledger.gateway, checkpoint, publicKey))
    return wrong('forged', `its signature, of ${sequence} with key ${checkpoint.key}, is false`)
  return { checkpoint, key }
}

function wrong(kind: AuditFault['kind'], detail: string): Judged {
  return { wrong: { kind, detail } }
}

/** What is stored of a ledger that signatures are read from. */
export interface SignedLedgerToRead extends LedgerName {
  keys: readonly GatewayKey[]
  /** Newest first. */
  checkpoints: AsyncIterable<StoredCheckpoint>
  /** The chain value that the event in this place claims, if one is stored there. */
  chainAt(sequence: number): Promise<string | undefined>
}

/** The sequence that the newest true checkpoint of a ledger signs; 0: it has none. */
export async function signedThrough(ledger: SignedLedgerToRead): Promise<number> {
  if (ledger.keys.length === 0) return 0
  for await (const stored of ledger.checkpoints) {
    const judged = judge(stored, ledger, ledger.keys)
    if ('wrong' in judged) continue
    const { sequence, chain } = judged.checkpoint
    if ((await ledger.chainAt(sequence)) === chain) return sequence
  }
  return 0
}

export function isInUse({ sinceMs, untilMs }: GatewayKey, atMs: number): boolean {
  return sinceMs <= atMs && !isRetired({ untilMs }, atMs)
}

function whyUnusable(key: GatewayKey, atMs: number): string | undefined {
  if (keyObjectOf(key) === undefined) return 'is registered with a text that is no public key'
  return isRetired(key, atMs) ? 'was retired before' : undefined
}

function isRetired({ untilMs }: Pick<GatewayKey, 'untilMs'>, atMs: number): boolean {
  return untilMs !== null && atMs > untilMs
}
