import {
  type Checkpoint,
  checkpointDistanceMax,
  checkpointType,
  readCheckpoint,
  verifyCheckpoint,
} from '../../src/contract/checkpoint.ts'
import { claimedChain } from '../../src/contract/codec.ts'
import { type GatewayKey, keyObjectOf } from '../gateways/registry.ts'
import type { AuditedEvent, AuditFault } from './event.ts'
import type { LedgerName } from './notes.ts'
import { RecentChains } from './recent-chains.ts'
import { parseText } from './text.ts'

/** What is known of a ledger beforehand. */
export interface Signers {
  /** With which keys its gateway signs; none: nobody has registered one, and no signature is verified. */
  keys: readonly GatewayKey[]
  /** Heads that were kept elsewhere: the ledger must still have them. */
  kept: readonly KeptHead[]
}

/** The newest signed head of a ledger, as it was. */
export interface KeptHead extends Checkpoint {
  gateway: string
}

/** How far a ledger is signed. */
export interface Signed {
  /** The newest checkpoint that is true; null: there is none. */
  signed: Checkpoint | null
  /** Events that are stored behind the sequence that it signs, but for itself. */
  unsignedEvents: number
  /** The newest checkpoint, if its gateway has no registered key to verify it with. */
  unverified: Checkpoint | null
}

/** So many times the events after which a gateway signs may lie behind its last signature: it signs while others come in. */
const patience = 4
/** Where no signature says how often it signs: by default. */
const everyEventsDefault = 10_000

/** Follows the checkpoints of one ledger, as its events come by in order (G8). */
export class CheckpointAudit {
  readonly #ledger: LedgerName
  readonly #signers: Signers
  readonly #chains = new RecentChains()
  readonly #found: Signed = { signed: null, unsignedEvents: 0, unverified: null }
  readonly #missing: Map<number, KeptHead[]>
  #events = 0
  /** Of these, those up to the last sequence that is signed, and that checkpoint. */
  #signedEvents = 0
  /** Recorded while its gateway had a key to sign with. */
  #toBeSigned = 0

  constructor(ledger: LedgerName, signers: Signers) {
    this.#ledger = ledger
    this.#signers = signers
    this.#missing = new Map()
    for (const head of signers.kept)
      this.#missing.set(head.sequence, [...(this.#missing.get(head.sequence) ?? []), head])
  }

  /** The next event; what is wrong with what it signs, or with what was kept of its place. */
  next(event: AuditedEvent): AuditFault[] {
    const { sequence, body, recordedMs } = event
    this.#events += 1
    if (this.#signers.keys.some((key) => isInUse(key, recordedMs))) this.#toBeSigned += 1
    const chain = claimedChain(body)
    if (chain === undefined) return []
    this.#chains.add(sequence, chain, this.#events)
    const faults = this.#compareKept(sequence, chain)
    return event.type === checkpointType ? [...faults, ...this.#examine(event)] : faults
  }

  /** All events have come by. */
  end(lastSequence: number): { found: Signed; faults: AuditFault[] } {
    const faults = [...this.#missing.values()].flat().map(({ sequence, time }): AuditFault => ({
      sequence,
      kind: 'cut',
      detail: `a head of it that was kept, signed ${time}, is not there: it ends at ${lastSequence}`,
    }))
    this.#found.unsignedEvents = this.#events - this.#signedEvents
    const { signed, unsignedEvents } = this.#found
    const unsigned = signed === null ? this.#toBeSigned : unsignedEvents
    const bound = patience * (signed?.everyEvents ?? everyEventsDefault)
    if (this.#signers.keys.length > 0 && unsigned > bound) {
      const behind = signed === null ? 'no signature at all' : `the last signature, of ${signed.sequence}`
      const detail = `${unsigned} events lie behind ${behind}, and its gateway never leaves more than ${bound}`
      faults.push({ sequence: lastSequence, kind: 'unsigned', detail })
    }
    return { found: this.#found, faults }
  }

  #compareKept(sequence: number, chain: string): AuditFault[] {
    const kept = this.#missing.get(sequence) ?? []
    this.#missing.delete(sequence)
    return kept
      .filter((head) => head.chain !== chain)
      .map(({ time, chain: was }) => ({
        sequence,
        kind: 'rewritten',
        detail: `the head of it that was kept, signed ${time}, has the chain value ${was}, and it has ${chain} now`,
      }))
  }

  #examine({ sequence: at, source, id, body }: AuditedEvent): AuditFault[] {
    const fault = (kind: AuditFault['kind'], detail: string): AuditFault[] => [
      { sequence: at, source, id, kind, detail },
    ]
    const checkpoint = readCheckpoint(parseText(body)?.['data'])
    if (checkpoint === undefined) return fault('forged', 'what it signs cannot be read')
    const { epoch, sequence, chain, time } = checkpoint
    const isBefore = sequence < at && at - sequence <= checkpointDistanceMax
    if (epoch !== this.#ledger.epoch || !isBefore)
      return fault('forged', `it signs ${epoch}/${sequence}, which it cannot speak of`)
    const { keys } = this.#signers
    const key = keys.find(({ fingerprint }) => fingerprint === checkpoint.key)
    if (keys.length > 0 && (key === undefined || isRetired(key, Date.parse(time)))) {
      const why = key === undefined ? 'is not among those of its gateway' : 'was retired before'
      return fault('unknown-key', `it is signed ${time} with key ${checkpoint.key}, which ${why}`)
    }
    if (key !== undefined && !verifyCheckpoint(this.#ledger.gateway, checkpoint, keyObjectOf(key)))
      return fault('forged', `its signature, of ${sequence} with key ${checkpoint.key}, is false`)
    const there = this.#chains.at(sequence)
    // Its event was not delivered, and a later checkpoint signs that too.
    if (there === undefined) return []
    if (there.chain !== chain) {
      const detail = `${sequence} was signed ${time} with the chain value ${chain}, and has ${there.chain} now: what stands up to there was written anew`
      return fault('rewritten', detail)
    }
    if (key === undefined) this.#found.unverified = checkpoint
    else {
      this.#found.signed = checkpoint
      this.#signedEvents = there.count + 1
    }
    return []
  }
}

function isInUse({ sinceMs, untilMs }: GatewayKey, atMs: number): boolean {
  return sinceMs <= atMs && !isRetired({ untilMs }, atMs)
}

function isRetired({ untilMs }: Pick<GatewayKey, 'untilMs'>, atMs: number): boolean {
  return untilMs !== null && atMs > untilMs
}
