import { claimedChain, verifyChain } from '../../src/contract/codec.ts'
import { ledgerType } from '../../src/contract/event.ts'
import { type AuditFault, isAt, parseText, placeText } from './event.ts'
import { readLedgerEntry } from '../history/ledger-entry.ts'
import { type LedgerPlace, repeatReasons } from '../history/history.ts'

/** What somebody noted about places that hold no event. */
export interface AuditedNote {
  from: number
  to: number
  reason: string
  /** The chain value of `to`, if known. */
  chain: string | undefined
  notedMs: number
  /** The event that it says it rests on; of a repeat, the repeat itself. */
  cites: LedgerPlace
  /** What is kept of that event. Notes that cite the same one share it. */
  proof: NoteProof | undefined
  /** It rests on what is not signed yet: pending like a gap. */
  isUnsigned?: boolean
}

export interface NoteProof {
  /** The wire text, verbatim. */
  body: string
  /** Of a repeat: whether the event whose identity it has is stored. */
  originalStored?: boolean
  /** Of a repeat: whether it says something else than that event, whatever its note calls it. */
  isRival?: boolean
}

export type LedgerName = Omit<LedgerPlace, 'sequence'>

/** The ledger that notes speak of. */
export interface NotedLedger extends LedgerName {
  notes: AsyncIterable<AuditedNote>
  mayBeSpokenOfBy(gateway: string): boolean
  signedThrough?: (ledger: LedgerName) => Promise<number>
  retiredThrough?: (ledger: LedgerName) => Promise<number>
}

interface Judging {
  doubted?: (fault: AuditFault) => void
  unsigned?: () => void
  /** Of each that is believed, in whatever order the walk comes to it. */
  told?: (note: AuditedNote) => void
}

/** The notes that rest on what is stored. Of the others each is a fault, and explains nothing. */
export async function* believed(
  ledger: NotedLedger,
  settled: (knownMs: number) => boolean,
  { doubted, unsigned, told }: Judging = {},
): AsyncGenerator<AuditedNote> {
  for await (const note of ledger.notes) {
    // Whoever says so has it against himself, in a ledger of his own.
    if (!ledger.mayBeSpokenOfBy(note.cites.gateway)) continue
    const isUnsigned = !isRepeat(note) && (await isUnsignedReport(note, ledger))
    if (isUnsigned) unsigned?.()
    const doubt =
      doubtOf(note, ledger) ??
      (isUnsigned && settled(note.notedMs)
        ? `${placeText(note.cites)} says so, and is not signed`
        : undefined)
    if (doubt === undefined) {
      told?.(note)
      yield isUnsigned ? { ...note, isUnsigned } : note
    } else {
      const { from, to, reason } = note
      const detail = `the note that ${from === to ? from : `${from}–${to}`} is ${reason} is not believed: ${doubt}`
      doubted?.({ sequence: from, kind: 'unfounded', detail })
    }
  }
}

/** What excuses a loss in a signed ledger is to be signed as well: anybody can write a ledger event that follows some chain. */
async function isUnsignedReport({ cites }: AuditedNote, ledger: NotedLedger): Promise<boolean> {
  const { signedThrough, retiredThrough } = ledger
  if (signedThrough === undefined || (await signedThrough(ledger)) === 0) return false
  const through = Math.max(await signedThrough(cites), (await retiredThrough?.(cites)) ?? 0)
  return cites.sequence > through
}

/** Why a note cannot be believed, if it cannot. */
function doubtOf(note: AuditedNote, ledger: LedgerName): string | undefined {
  return isRepeat(note) ? doubtOfRepeat(note, ledger) : doubtOfReport(note, ledger)
}

/** Believed as what the gateway said, in an event that has a place in a chain of its own. */
function doubtOfReport(note: AuditedNote, { epoch }: LedgerName): string | undefined {
  const { cites, proof } = note
  if (proof === undefined) return `${placeText(cites)} is to say so, and no ledger event is stored there`
  const says = reportsIn(proof, cites).has(`${epoch} ${rangeKey(note)}`)
  if (!says) return `${placeText(cites)} is to say so, and says something else`
  // Whoever speaks of what is still to come cannot have lost it.
  if (cites.epoch === epoch && cites.sequence <= note.to)
    return `${placeText(cites)} says so, and comes before it`
  return undefined
}

/** What it speaks of is an event whose identity is that of another one. */
export function isRepeat({ reason }: Pick<AuditedNote, 'reason'>): boolean {
  return (repeatReasons as readonly string[]).includes(reason)
}

/** Believed as an event whose text is kept, follows the chain, and has the identity of one that is stored. */
function doubtOfRepeat({ from, to, chain, proof }: AuditedNote, ledger: LedgerName): string | undefined {
  const text = parseText(proof?.body)
  if (proof === undefined || text === undefined) return 'its text was not kept'
  if (from !== to || !isAt(text, { ...ledger, sequence: from })) return 'its text belongs somewhere else'
  if (claimedChain(proof.body) !== chain) return 'its text has another chain value'
  return proof.originalStored ? undefined : 'the event whose identity it is to have is not stored'
}

/** One report explains up to 500 ranges, each noted by itself: it is read once. */
const known = new WeakMap<NoteProof, ReadonlySet<string>>()

function reportsIn(proof: NoteProof, cites: LedgerPlace): ReadonlySet<string> {
  let ranges = known.get(proof)
  if (ranges === undefined) {
    ranges = readReports(proof.body, cites)
    known.set(proof, ranges)
  }
  return ranges
}

function readReports(body: string, cites: LedgerPlace): ReadonlySet<string> {
  const text = parseText(body)
  if (text === undefined || text['type'] !== ledgerType || !isAt(text, cites)) return new Set()
  const entry = readLedgerEntry(text['data'])
  if (entry?.kind !== 'undelivered') return new Set()
  return new Set(entry.ranges.map((range) => `${entry.epoch} ${rangeKey(range)}`))
}

function rangeKey(range: { from: number; to: number; reason: string; chain?: string | undefined }): string {
  return `${range.from} ${range.to} ${range.reason} ${range.chain ?? ''}`
}

/** A repeat's text is kept, so the chain goes through it as through an event. */
export function unlinkedRepeat(
  { from, note }: { from: number; note: AuditedNote | undefined },
  chain: string | undefined,
): AuditFault | undefined {
  if (note?.proof === undefined || !isRepeat(note) || chain === undefined) return undefined
  if (verifyChain(note.proof.body, chain)) return undefined
  return {
    sequence: from,
    kind: 'unlinked',
    detail: `the text of this ${note.reason} was altered, or what stood before it at ${from - 1} was`,
  }
}
