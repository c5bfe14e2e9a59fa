import { createHash } from 'node:crypto'
import type { Acceptance } from '../../deeds/acceptances.ts'
import type { RetiredRange } from '../../deeds/retirements.ts'
import type { GatewayKey, Registry } from '../../gateways/registry.ts'
import type { LedgerName } from '../notes.ts'
import type { LedgerState, Said } from '../ledger.ts'

/**
 * Up to where a ledger was audited, and all that an audit must know to go on from there. It is sound as long as nothing is stored, noted
 * or accepted in front of it that was not there then: what came since is found, and the audit goes on from an earlier state, or from the
 * beginning. What somebody alters or takes away in front of it without a trace is found by an audit of the whole alone, unless it changes
 * the chain value at its head.
 */
export interface Mark extends LedgerName {
  /** RFC 3339: when everything in front of it was last seen to be as it was marked. */
  at: string
  /** What was stored by transactions from here on was not seen then. */
  horizon: Horizon
  /** Of the keys and names of its gateway: with others the past is judged otherwise. */
  vouched: string
  /** Of what was archived and taken out of history: what it excuses, here and in what other ledgers say, is judged by it. */
  retired: string
  /** The last event that was read: the ledger must still have it. It never goes back. */
  head: Head
  /** In order, apart by ever more, each one to go on from; none: it is read from its beginning. */
  states: readonly MarkedState[]
}

export interface Head {
  sequence: number
  /** null: its event has none. */
  chain: string | null
}

/** A place in the order of `(era, tx)`. */
export interface Horizon {
  era: number
  /** When this era began, as the database says: another one with this number is another era. */
  since: string
  /** A `xid8`, in decimal. */
  tx: string
}

export interface MarkedState {
  state: LedgerState
  /** Of the notes that begin in front of it. */
  notes: string
  /** Of the acceptances that begin in front of it. */
  accepted: string
}

/** What is known now of what stands in front of a mark. */
export interface MarkFacts {
  /** The first place in which something has come to be since; undefined: none. */
  firstFresh: number | undefined
  vouched: string
  retired: string
  acceptances: readonly Acceptance[]
  chainAt(sequence: number): Promise<string | null | undefined>
  /** Of the notes that begin in front of a place. */
  notesBefore(sequence: number): Promise<string>
  /** How many of them are not believed. */
  doubtsBefore(sequence: number): Promise<number>
  /** Whether what a ledger has said of an epoch would be judged now as it was then. */
  stands(said: Said): boolean
}

/** The states of a mark that an audit may still go on from, in order. */
export async function soundStates(mark: Mark, facts: MarkFacts): Promise<MarkedState[]> {
  if (mark.vouched !== facts.vouched || mark.retired !== facts.retired) return []
  for (let count = mark.states.length; count > 0; count--) {
    const last = mark.states[count - 1] as MarkedState
    if (await isSound(last, facts)) return mark.states.slice(0, count)
  }
  return []
}

async function isSound({ state, notes, accepted }: MarkedState, facts: MarkFacts): Promise<boolean> {
  const { next, chain, says, doubts } = state
  if ((facts.firstFresh ?? Infinity) < next) return false
  if (accepted !== digestOfAcceptances(facts.acceptances, next)) return false
  if (!says.every((said) => facts.stands(said))) return false
  if ((await facts.chainAt(next - 1)) !== chain) return false
  if ((await facts.notesBefore(next)) !== notes) return false
  return doubts === 0 || (await facts.doubtsBefore(next)) === doubts
}

/** Whether what a ledger has said of an epoch is judged as it was, by where that epoch is recorded to be closed. */
export function standsAs({ last, unrecorded = Infinity }: Said, closedAt = -1): boolean {
  return (last === null || closedAt >= last) && closedAt < unrecorded
}

/** Of a state what it rests on. */
export async function markedState(
  state: LedgerState,
  { notesBefore, acceptances }: Pick<MarkFacts, 'notesBefore' | 'acceptances'>,
): Promise<MarkedState> {
  return {
    state,
    notes: await notesBefore(state.next),
    accepted: digestOfAcceptances(acceptances, state.next),
  }
}

const thinnedAt = 64

/** States as they come by, in flat memory (G7). */
export class StatesToKeep {
  #states: LedgerState[] = []

  add(state: LedgerState): void {
    this.#states.push(state)
    if (this.#states.length >= thinnedAt) this.#states = thinned(this.#states, ({ next }) => next)
  }

  get all(): readonly LedgerState[] {
    return this.#states
  }
}

/** Stretches of places, each four times as long as the one before. */
const stretches = Array.from({ length: 21 }, (_, power) => 1024 * 4 ** power)

/**
 * The last one, and for each length of stretch the first of this and of the former one: some dozen, which come as states come by, one by
 * one. What is to be read anew when something has changed at a distance of the end is at most eight times that distance, and 8,192.
 */
export function thinned<State extends object>(
  states: readonly State[],
  nextOf: (state: State) => number,
): State[] {
  const last = states.at(-1)
  if (last === undefined) return []
  const kept = new Set([last])
  for (const length of stretches) {
    const current = Math.floor(nextOf(last) / length)
    for (const stretch of [current - 1, current]) {
      const first = states.find((state) => Math.floor(nextOf(state) / length) === stretch)
      if (first) kept.add(first)
    }
    if (current === 0) break
  }
  return states.filter((state) => kept.has(state))
}

/** Of what decides whose word is believed of a ledger. */
export function digestOfVouching(
  gateway: string,
  keys: readonly GatewayKey[],
  { names, maySpeakOf }: Pick<Registry, 'names' | 'maySpeakOf'>,
): string {
  const all = names.flatMap(({ former, gateway: later }) => [former, later])
  const related = [...new Set(all)].filter((name) => maySpeakOf(name, gateway) || maySpeakOf(gateway, name))
  const said = keys.map(({ fingerprint, publicKey, sinceMs, untilMs }) => [
    fingerprint,
    publicKey,
    sinceMs,
    untilMs,
  ])
  return digestOf([related.toSorted(), said])
}

/**
 * Of what was retired, and which archives are attached, of this ledger and of others: rows that are attached are no newer than they were,
 * so nothing else shows them; and what was retired is the oldest there is, which nearly every state stands behind: none is kept for it.
 */
export function digestOfRetired(standing: readonly string[], ranges: readonly RetiredRange[]): string {
  return digestOf([standing, ranges.map(({ from, to, before, chain }) => [from, to, before, chain])])
}

function digestOfAcceptances(acceptances: readonly Acceptance[], before: number): string {
  const those = acceptances.filter(({ from }) => from < before)
  return digestOf(those.map(({ from, to, by, at, reason }) => [from, to, by, at, reason]))
}

function digestOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('base64url')
}
