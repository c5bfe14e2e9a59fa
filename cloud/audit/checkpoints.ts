import { type Checkpoint, checkpointDistanceMax, checkpointType } from '../../src/contract/checkpoint.ts'
import { claimedChain } from '../../src/contract/codec.ts'
import type { GatewayKey } from '../gateways/registry.ts'
import type { AuditedEvent, AuditFault } from './event.ts'
import type { LedgerName } from './notes.ts'
import { type Counts, RecentChains, type Run } from './recent-chains.ts'
import { isInUse, judge } from './signatures.ts'

/** What is known of a ledger beforehand. */
export interface Signers {
  /** With which keys its gateway signs; none: nobody has registered one, and no signature is verified. */
  keys: readonly GatewayKey[]
  /** Heads that were kept elsewhere: the ledger must still have them. */
  kept: readonly DemandedHead[]
  /** The chain value that the event in a place claims, where the walk has begun behind it; null: it claims none; undefined: there is no event. */
  chainAt?: (sequence: number) => Promise<string | null | undefined>
}

/** A head that a ledger must still have. */
export interface DemandedHead {
  gateway: string
  epoch: string
  sequence: number
  /** null: its event had none, and is to be there. */
  chain: string | null
  /** When it was signed or saved, if that is known. */
  time?: string | undefined
  /** It was seen on an event: what a note says of its place is not enough. */
  isEvent?: boolean
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
  recent: Run[]
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

/** Follows the checkpoints of one ledger, as its events come by in order (G8). */
export class CheckpointAudit {
  readonly #ledger: LedgerName
  readonly #signers: Signers
  readonly #settled: (storedMs: number) => boolean
  readonly #chains: RecentChains
  readonly #found: Signed = { signed: null, unsignedEvents: 0, uncoveredEvents: 0, unverified: null }
  readonly #missing: Map<number, DemandedHead[]>
  /** Of those places, the chain values that believed notes say. */
  readonly #noted = new Map<number, string[]>()
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
    this.#chains = new RecentChains(from?.recent)
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
  }

  /** What is known behind this place; undefined: there are too many holes in what the next checkpoint may sign. */
  state(through: number): CheckpointState | undefined {
    const signed = Math.max(this.#newest.sequence, this.#found.unverified?.sequence ?? 0)
    // The next signature signs none before the last one.
    const recent = this.#chains.runsFrom(Math.max(signed, through - checkpointDistanceMax + 1, 1))
    if (recent === undefined) return undefined
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
      recent,
    }
  }

  /** The next event; what is wrong with what it signs. */
  async next(event: AuditedEvent): Promise<AuditFault[]> {
    const { sequence, body, recordedMs, storedMs } = event
    this.#events += 1
    const isToBeSigned = this.#signers.keys.some((key) => isInUse(key, recordedMs))
    if (isToBeSigned && this.#settled(storedMs)) this.#toBeSigned += 1
    const chain = claimedChain(body)
    this.#compareKept(sequence, chain)
    if (chain === undefined) return []
    const counts = { events: this.#events, toBeSigned: this.#toBeSigned, before: this.#begun.events }
    this.#chains.add(sequence, chain, counts)
    return event.type === checkpointType ? this.#examine(event) : []
  }

  /** A note that is believed: what it says of its end counts where no event is. */
  noted({ to, chain }: { to: number; chain: string | undefined }): void {
    if (chain !== undefined && this.#missing.has(to))
      this.#noted.set(to, [...(this.#noted.get(to) ?? []), chain])
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

  /** What lies from `from` to `to` is in an archive: the chain goes on behind it, and a signature may cover it. */
  retired(from: number, to: number, chain: string | undefined): void {
    for (const sequence of this.#missing.keys())
      if (sequence >= from && sequence < to) this.#missing.delete(sequence)
    if (chain === undefined) {
      this.#missing.delete(to)
      return
    }
    const counts = { events: this.#events, toBeSigned: this.#toBeSigned, before: this.#begun.events }
    this.#chains.add(to, chain, counts)
    this.#compareKept(to, chain)
  }

  /** All events have come by. `pendingThrough`: the last sequence that may be on its way. */
  end(
    lastSequence: number,
    pendingThrough: number,
  ): { found: Signed; faults: AuditFault[]; headFaults: AuditFault[] } {
    const faults: AuditFault[] = []
    const gone = [...this.#missing.values()]
      .flat()
      .map((head) => faultOfNoted(head, this.#noted.get(head.sequence) ?? [], lastSequence))
      .filter((fault) => fault !== undefined)
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

  #compareKept(sequence: number, chain: string | undefined): void {
    const kept = this.#missing.get(sequence)
    if (kept === undefined) return
    this.#missing.delete(sequence)
    const faults = kept.map((head) => faultOfEvent(head, chain ?? null))
    this.#headFaults.push(...faults.filter((fault) => fault !== undefined))
  }

  /** What a signature of `at` may sign, also where the walk has begun behind it. */
  async #at(sequence: number, at: number): Promise<({ chain: string } & Counts) | undefined> {
    const there = this.#chains.at(sequence)
    if (there !== undefined || at - sequence >= checkpointDistanceMax) return there
    const counts = this.#chains.countsAt(sequence)
    const chain = counts && (await this.#signers.chainAt?.(sequence))
    return counts && chain ? { chain, ...counts } : undefined
  }

  async #examine(event: AuditedEvent): Promise<AuditFault[]> {
    const { sequence: at, source, id } = event
    const judged = judge(event, this.#ledger, this.#signers.keys)
    if ('wrong' in judged) return [{ sequence: at, source, id, ...judged.wrong }]
    const { checkpoint, key } = judged
    const { sequence, chain, time, everyEvents } = checkpoint
    const there = await this.#at(sequence, at)
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

/** Of a head in whose place there is an event. */
export function faultOfEvent(head: DemandedHead, chain: string | null): AuditFault | undefined {
  return head.chain === null || head.chain === chain ? undefined : headIsOther(head, chain ?? 'none')
}

/** Of a head in whose place no event is, and of which believed notes say this. */
export function faultOfNoted(
  head: DemandedHead,
  chains: readonly string[],
  lastSequence?: number,
): AuditFault | undefined {
  const [chain] = chains
  if (head.isEvent || chain === undefined) return headIsGone(head, lastSequence)
  return head.chain === null || chains.includes(head.chain) ? undefined : headIsOther(head, chain)
}

/** Where a head was kept, nothing is. */
function headIsGone({ sequence, time }: DemandedHead, lastSequence?: number): AuditFault {
  const end = lastSequence === undefined ? '' : `: it ends at ${lastSequence}`
  return { sequence, kind: 'cut', detail: `a head of it that was kept${dated(time)} is not there${end}` }
}

function headIsOther({ sequence, time, chain: was }: DemandedHead, chain: string): AuditFault {
  const detail = `the head of it that was kept${dated(time)} has the chain value ${was}, and it has ${chain} now`
  return { sequence, kind: 'rewritten', detail }
}

function dated(time: string | undefined): string {
  return time === undefined ? '' : `, of ${time},`
}
