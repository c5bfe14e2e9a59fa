import { type Acceptance, partedBy } from '../deeds/acceptances.ts'
import { partedByRetired, type RetiredPart, RetiredPlaces } from '../deeds/retirements.ts'
import { claimedChain, genesis } from '../../src/contract/codec.ts'
import { type LedgerEntry, ledgerType } from '../../src/contract/event.ts'
import { readLedgerEntry } from '../history/ledger-entry.ts'
import { type Account, openAccount, type Stretch } from './account.ts'
import {
  copyFound,
  emptyFound,
  faultsBeforehand,
  type Found,
  type LedgerReport,
  type LedgerToAudit,
  type Said,
} from './ledger.ts'
import { CheckpointAudit } from './checkpoints.ts'
import { type AuditedEvent, type AuditFault, examineEvent, parseText } from './event.ts'
import { believed, isRepeat, unlinkedRepeat } from './notes.ts'
import { addRange, emptyRanges } from './ranges.ts'

const faultsMax = 20
const acceptancesMax = 20
/** A gateway speaks of epochs of its own: of one whenever its outbox was replaced. One that speaks of more has no marks behind that. */
const saidMax = 1000
/** By default. */
const statesEvery = 1000
const chainFaults: ReadonlySet<AuditFault['kind']> = new Set(['altered', 'moved', 'unlinked', 'rewritten'])

/** With `from` it says what an audit of the whole would say, if nothing was changed in front of there; but for `readFrom`. */
export async function auditLedger(ledger: LedgerToAudit): Promise<LedgerReport> {
  const walk = new LedgerWalk(ledger)
  for await (const event of ledger.events) await walk.take(event)
  return walk.end()
}

/** Goes through a ledger, place by place. */
class LedgerWalk {
  readonly #ledger: LedgerToAudit
  readonly #settled: (knownMs: number) => boolean
  readonly #account: Account
  readonly #checkpoints: CheckpointAudit
  readonly #found: Found
  readonly #pending = emptyRanges()
  readonly #says: Said[]
  #next: number
  #chain: string | undefined
  #lastRecordedMs: number
  #stateAt: number
  /** What comes from here on may be judged otherwise later, and so may all that is behind it. */
  #unsettled = false
  #doubts: number
  /** What is at fault there was told before the walk came to it: a note that begins there, or an event in a place that is retired. */
  #faultsAheadAt = 0
  readonly #retired: RetiredPlaces

  constructor(ledger: LedgerToAudit) {
    const { gateway, epoch, from, keys = [], kept = [], chainAt } = ledger
    const signers = { keys, kept, ...(chainAt && { chainAt }) }
    this.#ledger = ledger
    this.#retired = new RetiredPlaces(ledger.retired)
    this.#settled = (knownMs) => knownMs <= (ledger.settledBeforeMs ?? Infinity)
    this.#found = from ? copyFound(from.found) : emptyFound()
    this.#checkpoints = new CheckpointAudit(ledger, signers, this.#settled, from?.checkpoints)
    this.#says = [...(from?.says ?? [])]
    this.#doubts = from?.doubts ?? 0
    this.#next = from?.next ?? 1
    this.#chain = from ? (from.chain ?? undefined) : genesis(gateway, epoch)
    this.#lastRecordedMs = from?.lastRecordedMs ?? NaN
    this.#stateAt = this.#next
    this.#account = openAccount(
      believed(ledger, this.#settled, {
        doubted: (fault) => {
          this.#doubts++
          this.#faultsAheadAt = Math.max(this.#faultsAheadAt, fault.sequence)
          this.#addFault(fault)
        },
        unsigned: () => void (this.#unsettled = true),
        told: (note) => this.#checkpoints.noted(note),
      }),
    )
  }

  async take(event: AuditedEvent): Promise<void> {
    const { sequence, storedMs, source, id } = event
    if (!event.isArchived && this.#retired.has(sequence)) {
      const detail =
        'this place is retired: what stood there is in an archive, and what is stored there now was added since'
      this.#faultsAheadAt = Math.max(this.#faultsAheadAt, sequence)
      this.#addFault({ sequence, source, id, kind: 'doubled', detail })
      return
    }
    if (sequence < this.#next) {
      const detail =
        'this place is stored twice, in two weeks: its outbox was copied, or somebody has added it'
      this.#addFault({ sequence, source, id, kind: 'doubled', detail })
      return
    }
    const isSettled = this.#settled(storedMs)
    if (this.#next - this.#stateAt >= (this.#ledger.statesEvery ?? statesEvery) || !isSettled)
      await this.#tellState()
    if (!isSettled) this.#unsettled = true
    if (sequence > this.#next) await this.#passHole(sequence - 1, storedMs)
    addRange(event.isArchived ? this.#found.retired : this.#found.present, sequence, sequence)
    if (event.isArchived) this.#found.retiredRead++
    if (this.#chain === undefined) this.#found.unverifiedLinks++
    this.#addFault(examineEvent(event, this.#ledger, this.#chain) ?? this.#faultOfEntry(event))
    for (const fault of await this.#checkpoints.next(event)) this.#addFault(fault)
    this.#chain = claimedChain(event.body)
    this.#next = sequence + 1
    this.#lastRecordedMs = event.recordedMs
  }

  async end(): Promise<LedgerReport> {
    const { gateway, epoch, closures, from } = this.#ledger
    await this.#tellState()
    await this.#passHole(this.#ledger.retired?.at(-1)?.to ?? 0, 0)
    // What says that there is more may overtake it: a closed epoch's last events may come after the word of its end.
    const closure = closures.get(epoch)
    for await (const stretch of this.#account.explainRest(this.#next, closure?.last ?? 0))
      this.#passOver(stretch, (stretch.next ?? closure)?.notedMs ?? 0)
    const lastSequence = this.#next - 1
    const end = this.#checkpoints.end(lastSequence, this.#pending.ranges.at(-1)?.[1] ?? 0)
    for (const fault of end.faults) this.#addFault(fault)
    // Asked anew, wherever the walk begins.
    const headFaults = [...(this.#ledger.headFaults ?? []), ...end.headFaults]
    const ahead = [...faultsBeforehand(this.#ledger), ...headFaults]
    const { faults, faultCount, ...found } = this.#found
    const all = [...ahead, ...faults].toSorted(bySequence)
    const count = ahead.length + faultCount
    return {
      gateway,
      epoch,
      readFrom: from?.next ?? 1,
      unread: from?.found.present.count ?? 0,
      lastSequence,
      lastRecordedTime: timeOf(this.#lastRecordedMs),
      ...found,
      pending: this.#pending,
      chain: ahead.some(({ kind }) => chainFaults.has(kind)) ? 'broken' : found.chain,
      lastChain: this.#chain ?? null,
      ...end.found,
      faults: all.slice(0, faultsMax),
      faultCount: count,
      headsLost: headFaults.length,
      ok: count === 0 && found.gaps.count === 0,
    }
  }

  /** What is read from here on need not know what stands before, but for what the state says. */
  async #tellState(): Promise<void> {
    const { onState } = this.#ledger
    const next = this.#next
    if (onState === undefined || this.#unsettled || next === 1 || next === this.#stateAt) return
    const checkpoints = this.#checkpoints.state(next - 1)
    if (checkpoints === undefined || this.#says.length > saidMax) return
    await this.#account.readUpTo(next - 1)
    const isClear = this.#account.reaches() < next && this.#faultsAheadAt < next
    // Reading the notes may have shown one that is not signed yet.
    if (!isClear || this.#unsettled) return
    this.#stateAt = next
    onState({
      next,
      chain: this.#chain ?? null,
      lastRecordedMs: Number.isNaN(this.#lastRecordedMs) ? null : this.#lastRecordedMs,
      found: copyFound(this.#found),
      checkpoints,
      says: [...this.#says],
      doubts: this.#doubts,
    })
  }

  #addFault(fault: AuditFault | undefined): void {
    if (fault === undefined) return
    if (this.#found.faults.length < faultsMax) this.#found.faults.push(fault)
    this.#found.faultCount++
    if (chainFaults.has(fault.kind)) this.#found.chain = 'broken'
  }

  /** Nothing is stored up to there. */
  async #passHole(through: number, knownMs: number): Promise<void> {
    for (const part of partedByRetired(this.#ledger.retired ?? [], this.#next, through)) {
      if (part.range !== undefined) this.#passRetired(part)
      else
        for await (const stretch of this.#account.explain(part.from, part.to))
          this.#passOver(stretch, knownMs)
    }
  }

  #passRetired({ from, to, range }: RetiredPart): void {
    if (range?.isAttached) this.#addFault(notAttached(from, to))
    const before = range?.from === from ? range.before : null
    if (before === null || this.#chain === undefined) this.#found.unverifiedLinks++
    else if (before !== this.#chain) this.#addFault(rewrittenBefore(from, before, this.#chain))
    this.#chain = range?.to === to ? range.chain : undefined
    this.#checkpoints.retired(from, to, this.#chain)
    addRange(this.#found.retired, from, to)
    this.#next = to + 1
  }

  #passOver(stretch: Stretch, knownMs: number): void {
    const { from, to, note } = stretch
    this.#addFault(unlinkedRepeat(stretch, this.#chain))
    const isPending = note ? note.isUnsigned === true : !this.#settled(knownMs)
    if (isPending) this.#unsettled = true
    if (!(note && isRepeat(note) && this.#chain !== undefined))
      for (const fault of this.#checkpoints.parted(from, isPending)) this.#addFault(fault)
    this.#enter(stretch, isPending)
    this.#chain = note?.to === to ? note.chain : undefined
    this.#next = to + 1
  }

  /** Enters a stretch without events under its reason, or as missing. */
  #enter({ from, to, note }: Stretch, isPending: boolean): void {
    const { undelivered, accepted, acceptances, gaps } = this.#found
    if (note && !isPending) addRange((undelivered[note.reason] ??= emptyRanges()), from, to)
    else if (note) addRange(this.#pending, from, to)
    else {
      // Only what nothing else explains.
      for (const part of partedBy(this.#ledger.acceptances ?? [], from, to)) {
        const { acceptance } = part
        addRange(acceptance ? accepted : isPending ? this.#pending : gaps, part.from, part.to)
        if (acceptance) tellAcceptance(acceptances, { ...acceptance, from: part.from, to: part.to })
      }
    }
  }

  /** A gateway gives account of its own ledgers. */
  #faultOfEntry(event: AuditedEvent): AuditFault | undefined {
    const { sequence, source, id, type, body } = event
    const entry = type === ledgerType ? readLedgerEntry(parseText(body)?.['data']) : undefined
    if (entry === undefined) return undefined
    const ledger = this.#ledger
    const owner = entry.epoch === ledger.epoch ? undefined : ledger.strangerWith?.(entry.epoch)
    if (owner !== undefined) {
      const detail = `it speaks of epoch ${entry.epoch}, which is ${owner}’s: nothing of that is believed`
      return { sequence, source, id, kind: 'foreign', detail }
    }
    const fault = entry.kind === 'epoch-closed' ? unrecorded(event, entry, ledger) : undefined
    if (entry.kind !== 'epoch-closed') this.#remember({ epoch: entry.epoch, last: null })
    else if (fault === undefined) this.#remember({ epoch: entry.epoch, last: entry.lastSequence })
    else this.#remember({ epoch: entry.epoch, last: null, unrecorded: entry.lastSequence })
    return fault
  }

  #remember(said: Said): void {
    const { epoch, last, unrecorded } = said
    if (epoch === this.#ledger.epoch && last === null && unrecorded === undefined) return
    const at = this.#says.findIndex((known) => known.epoch === epoch)
    const known = this.#says[at]
    if (known === undefined) this.#says.push(said)
    else this.#says[at] = bothSaid(known, said)
  }
}

/** Of two that are not recorded the lower one comes to be first. */
function bothSaid(a: Said, b: Said): Said {
  const last = a.last === null || b.last === null ? (a.last ?? b.last) : Math.max(a.last, b.last)
  const unrecorded = Math.min(a.unrecorded ?? Infinity, b.unrecorded ?? Infinity)
  return { epoch: a.epoch, last, ...(unrecorded < Infinity && { unrecorded }) }
}

/** Notes are read ahead at times: what is found is told in one order. */
function bySequence(a: AuditFault, b: AuditFault): number {
  return a.sequence - b.sequence || (a.kind < b.kind ? -1 : 1)
}

function rewrittenBefore(sequence: number, was: string, chain: string): AuditFault {
  const detail = `what stands before it had the chain value ${was} when it was retired, and has ${chain} now`
  return { sequence, kind: 'rewritten', detail }
}

function notAttached(from: number, to: number): AuditFault {
  const places = from === to ? String(from) : `${from}–${to}`
  const detail = `${places} are in an archive that is attached, and not in tidegate.archived`
  return { sequence: from, kind: 'incomplete', detail }
}

/** null: it is no time at all, which is a fault of its own. */
function timeOf(ms: number): string | null {
  const date = new Date(ms)
  return Number.isNaN(date.getTime()) ? null : date.toISOString()
}

function tellAcceptance(told: Acceptance[], { from, to, by, at, reason }: Acceptance): void {
  if (told.length < acceptancesMax) told.push({ from, to, by, at, reason })
}

/** Who removes the end of a closed epoch, or all of it, must make its closure disappear: the event that closed it is left. */
function unrecorded(
  { sequence, source, id }: AuditedEvent,
  entry: LedgerEntry & { kind: 'epoch-closed' },
  { closures }: Pick<LedgerToAudit, 'closures'>,
): AuditFault | undefined {
  const recorded = closures.get(entry.epoch)?.last
  if (recorded !== undefined && recorded >= entry.lastSequence) return undefined
  const instead = recorded === undefined ? 'nothing of that is' : `only ${recorded} is`
  const detail = `it says that epoch ${entry.epoch} reached ${entry.lastSequence}, and ${instead} recorded`
  return { sequence, source, id, kind: 'unrecorded', detail }
}
