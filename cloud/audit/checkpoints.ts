import { type Checkpoint, checkpointDistanceMax, checkpointType } from '../../src/contract/checkpoint.ts'
import { claimedChain } from '../../src/contract/codec.ts'
import type { GatewayKey } from '../gateways/registry.ts'
import type { AuditedEvent, AuditFault } from './event.ts'
import type { LedgerName } from './notes.ts'
import { type Recent, RecentChains } from './recent-chains.ts'
import { isInUse, judge } from './signatures.ts'

/** What is known of a ledger beforehand. */
export interface Signers {
  /** With which keys its gateway signs; none: nobody has registered one, and no signature is verified. */
  keys: readonly GatewayKey[]
  /** Heads that were kept elsewhere: the ledger must still have them. */
  kept: readonly DemandedHead[]
}

/** A head that a ledger must still have. */
export interface DemandedHead {
  gateway: string
  epoch: string
  sequence: number
  chain: string
  /** When it was signed or saved, if that is known. */
  time?: string | undefined
}

/** The newest signed head of a ledger, as it was. */
export interface KeptHead extends Checkpoint {
  gateway: string
}

/** What goes on being known behind a place. */
export interface CheckpointState {
  events: number
  toBeSigned: number
  begun: { events: number; toBeSigned: number }
  signedEvents: number
  coveredEvents: number
  newest: { sequence: number; toBeSigned: number }
  everyEvents: number | null
  signed: Checkpoint | null
  unverified: Checkpoint | null
  /** The last places: what the next checkpoint may sign. */
  recent: Recent[]
}

/** How far a ledger is signed. */
export interface Signed {
  /** The newest checkpoint that is true; null: there is none. */
  signed: Checkpoint | null
  /** Events that are stored behind the sequence that it signs, but for itself. */
  unsignedEvents: number
  /**
   * Events before it that no signature covers all the same: they stand right before something that was not delivered, from where the
   * chain cannot be followed back to them.
   */
  uncoveredEvents: number
  /** The newest checkpoint, if its gateway has no registered key to verify it with. */
  unverified: Checkpoint | null
}

/** So many times the events after which a gateway signs may lie behind its last signature: it signs while others come in. */
const patience = 4
/** Where no signature says how often it signs: by default. */
const everyEventsDefault = 10_000
/** Several of its writes, however often it is to sign: what comes in one write is signed at once. */
const boundMin = 2_000

/** As many places are known behind a signature: the next one signs none before it. */
const recentMax = 64
/** As many where nothing is signed. The first signature of an epoch, or of a gateway that got a key, signs what it had last. */
const recentUnsigned = 16

/** Follows the checkpoints of one ledger, as its events come by in order (G8). */
export class CheckpointAudit {
  readonly #ledger: LedgerName
  readonly #signers: Signers
  readonly #settled: (storedMs: number) => boolean
  readonly #chains = new RecentChains()
  readonly #found: Signed = { signed: null, unsignedEvents: 0, uncoveredEvents: 0, unverified: null }
  readonly #missing: Map<number, DemandedHead[]>
  readonly #headFaults: AuditFault[] = []
  #events = 0
  /** Recorded while its gateway had a key to sign with, and not just now. */
  #toBeSigned = 0
  /** Where the stretch began in which each event follows the one before. */
  #begun = { events: 0, toBeSigned: 0 }
  /** Events up to the last one that is signed, and those among them that a signature covers. */
  #signedEvents = 0
  #coveredEvents = 0
  /** The newest signature that is true, whether or not what it signs is stored, and how many were to be signed up to there. */
  #newest = { sequence: 0, toBeSigned: 0 }
  #everyEvents: number | undefined

  constructor(
    ledger: LedgerName,
    signers: Signers,
    settled: (storedMs: number) => boolean,
    from?: CheckpointState,
  ) {
    this.#ledger = ledger
    this.#signers = signers
    this.#settled = settled
    this.#missing = new Map()
    for (const head of signers.kept)
      this.#missing.set(head.sequence, [...(this.#missing.get(head.sequence) ?? []), head])
    if (from === undefined) return
    this.#events = from.events
    this.#toBeSigned = from.toBeSigned
    this.#begun = from.begun
    this.#signedEvents = from.signedEvents
    this.#coveredEvents = from.coveredEvents
    this.#newest = from.newest
    this.#everyEvents = from.everyEvents ?? undefined
    this.#found.signed = from.signed
    this.#found.unverified = from.unverified
    for (const { sequence, chain, ...counts } of from.recent) this.#chains.add(sequence, chain, counts)
  }

  /** What is known behind this place; undefined: the next checkpoint may sign what stands too far before it. */
  state(through: number): CheckpointState | undefined {
    const signed = Math.max(this.#newest.sequence, this.#found.unverified?.sequence ?? 0)
    const signsNoMore = signed === 0 || through - signed > checkpointDistanceMax
    if (!signsNoMore && through - signed > recentMax) return undefined
    return {
      events: this.#events,
      toBeSigned: this.#toBeSigned,
      begun: this.#begun,
      signedEvents: this.#signedEvents,
      coveredEvents: this.#coveredEvents,
      newest: this.#newest,
      everyEvents: this.#everyEvents ?? null,
      signed: this.#found.signed,
      unverified: this.#found.unverified,
      recent: this.#chains.between(signsNoMore ? through - recentUnsigned : signed, through),
    }
  }

  /** The next event; what is wrong with what it signs. */
  next(event: AuditedEvent): AuditFault[] {
    const { sequence, body, recordedMs, storedMs } = event
    this.#events += 1
    const isToBeSigned = this.#signers.keys.some((key) => isInUse(key, recordedMs))
    if (isToBeSigned && this.#settled(storedMs)) this.#toBeSigned += 1
    const chain = claimedChain(body)
    if (chain === undefined) return []
    const counts = { events: this.#events, toBeSigned: this.#toBeSigned, before: this.#begun.events }
    this.#chains.add(sequence, chain, counts)
    this.#compareKept(sequence, chain)
    return event.type === checkpointType ? this.#examine(event) : []
  }

  /** Up to there nothing is stored, and `chain` is what was said of its end. */
  passed(sequence: number, chain: string | undefined): void {
    if (chain !== undefined) this.#compareKept(sequence, chain)
  }

  /** What comes next is not known to follow what has come: no signature behind it covers that. */
  parted(at: number, isPending: boolean): AuditFault[] {
    const uncovered = this.#toBeSigned - Math.max(this.#newest.toBeSigned, this.#begun.toBeSigned)
    this.#begun = { events: this.#events, toBeSigned: this.#toBeSigned }
    const bound = this.#bound(everyEventsDefault)
    if (isPending || uncovered <= bound) return []
    const detail = `of the events before it ${uncovered} are covered by no signature, and its gateway never leaves more than ${bound}`
    return [{ sequence: at, kind: 'unsigned', detail }]
  }

  /** All events have come by. `pendingThrough`: the last sequence that may be on its way. */
  end(
    lastSequence: number,
    pendingThrough: number,
  ): { found: Signed; faults: AuditFault[]; headFaults: AuditFault[] } {
    const faults: AuditFault[] = []
    const gone = [...this.#missing.values()].flat().map((head) => headIsGone(head, lastSequence))
    // The checkpoint needs none.
    this.#found.unsignedEvents = this.#events - this.#signedEvents - (this.#found.signed === null ? 0 : 1)
    this.#found.uncoveredEvents = this.#signedEvents - this.#coveredEvents
    const unsigned = this.#toBeSigned - this.#newest.toBeSigned
    // An epoch's first event is signed at once; one that a crash or damage ended before that has few, and so may what was signed have been evicted.
    const bound = this.#everyEvents === undefined ? boundMin : this.#bound(this.#everyEvents)
    if (unsigned > bound && pendingThrough <= this.#newest.sequence) {
      const { sequence } = this.#newest
      const behind = sequence === 0 ? 'no signature at all' : `the last signature, of ${sequence}`
      const detail = `${unsigned} events lie behind ${behind}, and its gateway never leaves more than ${bound}`
      faults.push({ sequence: lastSequence, kind: 'unsigned', detail })
    }
    return { found: this.#found, faults, headFaults: [...this.#headFaults, ...gone] }
  }

  #bound(everyEvents: number): number {
    return Math.max(patience * (this.#everyEvents ?? everyEvents), boundMin)
  }

  #compareKept(sequence: number, chain: string): void {
    const kept = this.#missing.get(sequence) ?? []
    this.#missing.delete(sequence)
    this.#headFaults.push(
      ...kept.filter((head) => head.chain !== chain).map((head) => headIsOther(head, chain)),
    )
  }

  #examine(event: AuditedEvent): AuditFault[] {
    const { sequence: at, source, id } = event
    const judged = judge(event, this.#ledger, this.#signers.keys)
    if ('wrong' in judged) return [{ sequence: at, source, id, ...judged.wrong }]
    const { checkpoint, key } = judged
    const { sequence, chain, time, everyEvents } = checkpoint
    const there = this.#chains.at(sequence)
    if (there !== undefined && there.chain !== chain) {
      const detail = `${sequence} was signed ${time} with the chain value ${chain}, and has ${there.chain} now: what stands up to there was written anew`
      return [{ sequence: at, source, id, kind: 'rewritten', detail }]
    }
    if (key === undefined) {
      if (sequence > (this.#found.unverified?.sequence ?? 0)) this.#found.unverified = checkpoint
      return []
    }
    if (sequence > this.#newest.sequence) {
      // No more than these have come since.
      const toBeSigned = there?.toBeSigned ?? this.#toBeSigned - (at - sequence)
      this.#newest = { sequence, toBeSigned: Math.max(toBeSigned, this.#newest.toBeSigned) }
      this.#everyEvents = everyEvents
    }
    // Where its event was not delivered, a later checkpoint signs that too. An old one that comes again signs nothing new.
    if (there === undefined || sequence <= (this.#found.signed?.sequence ?? 0)) return []
    this.#found.signed = checkpoint
    this.#coveredEvents += there.events - Math.max(this.#signedEvents, there.before)
    this.#signedEvents = there.events
    return []
  }
}

/** Where a head was kept, nothing is. */
export function headIsGone({ sequence, time }: DemandedHead, lastSequence?: number): AuditFault {
  const end = lastSequence === undefined ? '' : `: it ends at ${lastSequence}`
  return { sequence, kind: 'cut', detail: `a head of it that was kept${dated(time)} is not there${end}` }
}

export function headIsOther({ sequence, time, chain: was }: DemandedHead, chain: string): AuditFault {
  const detail = `the head of it that was kept${dated(time)} has the chain value ${was}, and it has ${chain} now`
  return { sequence, kind: 'rewritten', detail }
}

function dated(time: string | undefined): string {
  return time === undefined ? '' : `, of ${time},`
}
