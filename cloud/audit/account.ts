import type { AuditedNote } from './notes.ts'

/** What is known of a stretch of the ledger where no event is present: why, or nothing. */
export interface Stretch {
  from: number
  to: number
  note: AuditedNote | undefined
  /** The next note, if it begins right behind. */
  next: AuditedNote | undefined
}

/** The notes on what was not delivered, read once, in order, as the holes come by. */
export interface Account {
  /** Parts the hole from `from` to `to` by what is known of it. Holes are asked for in order. */
  explain(from: number, to: number): AsyncGenerator<Stretch>
  /** The same for all that lies from `from` on: up to `end`, or as far as the notes reach. */
  explainRest(from: number, end: number): AsyncGenerator<Stretch>
  /** Reads the notes that begin no later than there. */
  readUpTo(sequence: number): Promise<void>
  /** How far those that were read reach, of those that begin no later than where we are; 0: there were none. */
  reaches(): number
}

/**
 * Holds two notes at any time: the next one, and of those that begin no later than where we are the one that reaches
 * furthest. Wherever any of the others still reaches, that one does too.
 */
export function openAccount(notes: AsyncIterable<AuditedNote>): Account {
  const iterator = notes[Symbol.asyncIterator]()
  let ahead: AuditedNote | undefined
  let begun = false
  let furthest: AuditedNote | undefined

  async function readUpTo(sequence: number): Promise<void> {
    while (!begun || (ahead && ahead.from <= sequence)) {
      if (ahead && reachesFurther(ahead, furthest)) furthest = ahead
      const read = await iterator.next()
      ahead = read.done ? undefined : read.value
      begun = true
    }
  }

  async function* explain(from: number, horizon: () => number): AsyncGenerator<Stretch> {
    for (let at = from; ;) {
      await readUpTo(at)
      const end = horizon()
      if (at > end) return
      const note = furthest && furthest.to >= at ? furthest : undefined
      const to = Math.min(end, note?.to ?? (ahead ? ahead.from - 1 : end))
      yield { from: at, to, note, next: ahead?.from === to + 1 ? ahead : undefined }
      at = to + 1
    }
  }

  return {
    explain: (from, to) => explain(from, () => to),
    readUpTo,
    reaches: () => furthest?.to ?? 0,
    explainRest: (from, end) => explain(from, () => Math.max(end, furthest?.to ?? 0, ahead?.to ?? 0)),
  }
}

/** Of two that reach equally far, one that knows the chain. */
function reachesFurther(note: AuditedNote, other: AuditedNote | undefined): boolean {
  if (other === undefined || note.to > other.to) return true
  return note.to === other.to && other.chain === undefined
}
