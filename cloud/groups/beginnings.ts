import type { HistoryPage } from '../replays/history-pages.ts'

/** New groups that begin at the beginning of history, as all instances know of them. Port; the adapter is beginning-postgres.ts. */
export interface Beginnings {
  /** Undefined: there was never a group of this name, as far as the database knows. */
  standing(group: string): Promise<Standing | undefined>
  /** It is here, from now on: whatever becomes of its queues, it begins nowhere any more. Idempotent. */
  note(group: string): Promise<void>
  /** It is on record that it begins, as a deed in the cloud's own ledger. Idempotent. */
  begin(group: string): Promise<void>
  /** For one instance at a time. Undefined: another has it. */
  claim(group: string): Promise<ClaimedBeginning | 'over' | undefined>
  /** Keeps the claim. */
  keep(claimed: ClaimedBeginning): Promise<Kept>
  /** The next events that the group takes. */
  read(claimed: ClaimedBeginning, after: string, max: number): Promise<HistoryPage>
  /** Its queues are about to be bound: from now on nobody reads them until it is over. Keeps the claim as well. */
  bound(claimed: ClaimedBeginning): Promise<Kept>
  /** Everything up to `next` is settled. Keeps the claim as well. */
  passed(claimed: ClaimedBeginning, next: string, events: number): Promise<Kept>
  /** An event of the record that history has: whatever lies before it in a queue of history's is stored when this is settled. */
  marker(claimed: ClaimedBeginning): Promise<{ id: string; text: string }>
  /** In which partitions of history it was settled, of those that were sent in this round: one of before says nothing of what came since. */
  markersSettled(claimed: ClaimedBeginning, round: string): Promise<ReadonlySet<number>>
  /** From now on it ends: with what is stored by now. */
  close(claimed: ClaimedBeginning): Promise<void>
  end(claimed: ClaimedBeginning, state: 'done' | 'stopped'): Promise<void>
  /** Any instance may have it at once. */
  release(claimed: ClaimedBeginning): Promise<void>
}

/** `before`: it is not new, and has not begun at the beginning. */
export type Standing = 'under-way' | 'over' | 'before'

/** Undefined: the claim is lost. `stopping`: a person wants the group to go on without the rest. */
export type Kept = 'running' | 'stopping' | undefined

export interface ClaimedBeginning {
  replay: number
  claim: string
  group: string
  /** Behind this it goes on. */
  cursor: string
  /** Its queues were bound, or perhaps. */
  isBound: boolean
  /** What is to be read is known. */
  isClosed: boolean
}
