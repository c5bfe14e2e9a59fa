import type {
  DeedItem,
  FailureGroup,
  GroupItem,
  LetterItem,
  LetterWhole,
  ParkedItem,
  ProjectionItem,
  ProjectionJob,
  QuarantineItem,
  ReplayItem,
} from '../rules/shapes.ts'
import type { WhereAnswer } from '../rules/where-shapes.ts'

/** What a caller may know of: undefined is everything. */
export interface Scope {
  groups?: readonly string[] | undefined
  types?: readonly string[] | undefined
}

export interface Paging {
  limit: number
  after?: string | undefined
}

export interface Page<T> {
  items: T[]
  /** Cursor of the next page; null: there is none. */
  next: string | null
}

export interface LettersAsked extends Paging {
  group?: string | undefined
  code?: string | undefined
  fingerprint?: string | undefined
  device?: string | undefined
  type?: string | undefined
  /** Undefined: open and replaying. */
  state?: LetterItem['state'] | 'all' | undefined
  /** Failed last at or after this, and before that, ms since the Unix epoch. */
  sinceMs?: number | undefined
  untilMs?: number | undefined
}

export interface FailureGroupsAsked extends Paging {
  group?: string | undefined
  code?: string | undefined
  /** Undefined: those with open letters that nobody has muted. */
  status?: FailureGroup['status'] | 'all' | undefined
}

export interface QuarantineAsked extends Paging {
  gateway?: string | undefined
  device?: string | undefined
  reason?: string | undefined
}

export interface WhereAsked {
  id: string
  source?: string | undefined
}

/** A row and what changes with it: the ETag. */
export interface Versioned<T> {
  item: T
  version: string
}

/** What the API reads, straight from the tables; nothing outside of the scope. Throws TidegateError `DATABASE_*`, and of cursors Refusal `CURSOR_INVALID`. */
export interface Reads {
  letters(asked: LettersAsked, scope: Scope): Promise<Page<LetterItem>>
  letter(letter: number, scope: Scope): Promise<Versioned<LetterWhole> | undefined>
  failureGroups(asked: FailureGroupsAsked, scope: Scope): Promise<Page<FailureGroup>>
  failureGroup(fingerprint: string, scope: Scope): Promise<Versioned<FailureGroup> | undefined>
  replays(asked: Paging): Promise<Page<ReplayItem>>
  replay(replay: number): Promise<ReplayItem | undefined>
  quarantine(asked: QuarantineAsked, scope: Scope): Promise<Page<QuarantineItem>>
  where(asked: WhereAsked, scope: Scope): Promise<WhereAnswer>
  groups(scope: Scope): Promise<GroupItem[]>
  parked(group: string, asked: Paging): Promise<Page<ParkedItem>>
  projections(): Promise<ProjectionItem[]>
  projectionJob(job: string): Promise<ProjectionJob | undefined>
  deeds(asked: Paging & { actor?: string | undefined }): Promise<Page<DeedItem>>
}
