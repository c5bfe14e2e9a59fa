import { z } from 'zod'
import { payload } from './payload.ts'

/** What the API answers with: schemas from which docs/openapi.json and the types of the reads come. */

const count = z.int().min(0)
export const time = z.iso.datetime().describe('RFC 3339, UTC')
const text = z.string()
const maybe = text.nullable()

export const letterStates = ['open', 'replaying', 'resolved', 'discarded'] as const
export const failureStatuses = ['open', 'muted', 'resolved', 'regressed'] as const

export const letterItem = z.object({
  letter: count,
  group: text,
  state: z.enum(letterStates),
  code: text,
  message: payload(text),
  fingerprint: text,
  source: maybe,
  id: maybe,
  type: maybe,
  device: maybe,
  gateway: maybe,
  epoch: maybe,
  sequence: count.nullable(),
  attempts: count,
  replays: count,
  replay: count.nullable().describe('the replay that has it, or had it last'),
  edited: z.boolean(),
  instance: text,
  version: maybe.describe('of the consumer'),
  firstFailedAt: time,
  lastFailedAt: time,
  closedAt: time.nullable(),
})

const failure = z.object({ attempt: count, at: text, code: text, message: payload(text) })

export const letterWhole = letterItem.extend({
  publisher: maybe.describe('the user of the broker that published it'),
  routingKey: text,
  queue: text,
  failures: z.array(failure).describe('the last attempts, oldest first'),
  bodyBytes: count,
  body: payload(text.nullable(), 'as it came, if it is UTF-8'),
  bodyBase64: payload(text.nullable(), 'as it came, if it is not'),
  stack: payload(maybe),
  properties: payload(z.unknown()),
  headers: payload(z.unknown()),
  edit: payload(z.unknown(), 'the JSON Patch of its next replay, and by whom'),
})

export const failureGroup = z.object({
  fingerprint: text,
  group: text,
  code: text,
  type: maybe,
  message: payload(text, 'with what differs from letter to letter left out'),
  frame: maybe.describe('where it was thrown'),
  firstSeen: time,
  lastSeen: time,
  letters: count,
  open: count,
  status: z.enum(failureStatuses),
  firstVersion: maybe,
  lastVersion: maybe,
  resolvedVersion: maybe,
  note: maybe,
  owner: maybe,
  issue: maybe,
})

export const replayItem = z.object({
  replay: count,
  deed: text,
  actor: text,
  why: maybe.describe('the reason of whoever asked for it'),
  source: z
    .enum(['letters', 'history', 'start'])
    .describe('start: a new group that begins at the beginning of history'),
  filter: z.unknown(),
  generation: maybe.describe('of history: what has its effect once more, once for each'),
  ratePerSecond: z.number().nullable(),
  ramp: z.array(count).nullable(),
  stopAtShare: z.number().nullable(),
  state: z.enum(['running', 'stopping', 'stopped', 'done']),
  reason: maybe.describe('why it stopped'),
  total: count.describe('letters; of history, positions from the first to the end, of whatever events'),
  sent: count,
  resolved: count,
  failed: count,
  repeats: count.describe('of history: processed before, and without an effect'),
  looked: count.nullable().describe('of history: how many of total are behind it'),
  cursor: maybe.describe('of history: the cursor that it goes on behind'),
  startedAt: time,
  endedAt: time.nullable(),
})

export const groupState = z.object({
  state: z.enum(['running', 'paused', 'tripped', 'trial']),
  since: time.nullable(),
  until: time.nullable(),
  actor: maybe,
  reason: maybe,
})

export const groupItem = z.object({
  group: text,
  state: groupState,
  instances: z.array(z.object({ instance: text, seenAt: time })),
  openLetters: count,
  parkedDevices: count,
})

export const parkedItem = z.object({
  device: text,
  since: time,
  state: z.enum(['retrying', 'held']),
  attempt: count,
  nextAt: time,
  code: maybe,
  message: payload(maybe),
  events: count.describe('that wait, the failing one included'),
  overflowed: z
    .boolean()
    .describe('there was no room for one of its events: until nothing waits, what comes is a dead letter'),
})

export const quarantineItem = z.object({
  gateway: text,
  epoch: text,
  sequence: count,
  device: text,
  reason: maybe,
  type: maybe.describe('the type it would have had, if that was known'),
  recordedAt: time,
  payloadBytes: count.nullable(),
  format: maybe.describe('what the payload was to be read as; null: JSON'),
  detail: payload(maybe),
  topic: payload(maybe),
  id: payload(maybe, 'the ID it claimed'),
  payloadBase64: payload(maybe),
  truncated: z.boolean().nullable(),
})

export const deedItem = z.object({
  deed: text,
  at: time,
  actor: text,
  roles: z.array(text),
  verb: text,
  reason: maybe,
  request: z.unknown().describe('of a patch only what it is about, for those without the right to payloads'),
  outcome: z.unknown(),
})

export const eventItem = z.object({
  cursor: text.describe('its place in history: what comes after it is asked for with it'),
  position: count,
  storedAt: time,
  disposition: z.enum(['accepted', 'rejected', 'dead']),
  gateway: text,
  epoch: text,
  sequence: count,
  source: text,
  id: text,
  type: text,
  event: payload(z.unknown(), 'as it was published; streams bring its text, byte by byte'),
})

export const projectionStates = ['new', 'building', 'live', 'halted'] as const

const projectionVersion = z.object({
  version: count,
  state: z.enum(projectionStates),
  isActive: z.boolean().describe('it is what readers of the view see'),
  applied: count.describe('events, since it began'),
  share: z.number().describe('how much of what there was when it began is read, 0 to 1: an estimate'),
  perSecond: z.number().nullable().describe('events applied, over the last ten seconds'),
  lagSeconds: z.number().nullable(),
  endsAt: time.nullable().describe('when building ends at this rate'),
  startedAt: time.nullable(),
  liveAt: time.nullable(),
  advancedAt: time.nullable(),
  holder: maybe.describe('the instance that works at it; null: none does'),
  halted: z
    .object({ at: time, source: text, id: text, type: text, code: text, message: payload(text) })
    .nullable()
    .describe('the event that it cannot apply'),
})

export const projectionItem = z.object({
  name: text,
  active: count.nullable(),
  former: count.nullable().describe('what readers saw before'),
  switchedAt: time.nullable(),
  versions: z.array(projectionVersion),
})

export const projectionJob = z.object({
  job: text,
  name: text,
  version: count,
  kind: z.enum(['compare', 'rebuild-device']),
  device: maybe,
  askedAt: time.nullable(),
  endedAt: time.nullable().describe('null: it waits for whoever holds the version'),
  outcome: z
    .object({
      removed: count.optional().describe('rows'),
      applied: count.optional().describe('events'),
      tables: z.array(z.object({ table: text, rows: count, activeRows: count.nullable() })).optional(),
      sampled: count.optional().describe('keys that were computed again from history'),
      differing: z
        .array(z.object({ key: text, table: text, beside: count, missing: count }))
        .optional()
        .describe('rows of a key that history does not say, and that are missing; the first 50'),
      same: z.boolean().nullable().optional().describe('null: there was no key to compare'),
    })
    .nullable(),
  failed: maybe.describe('code of what kept it from being done'),
  message: payload(maybe),
})

/** A page of a list. */
export function pageShape<S extends z.ZodType>(item: S) {
  return z.object({
    items: z.array(item),
    next: text.nullable().describe('cursor of the next page; null: this is the last'),
  })
}

export type LetterItem = z.output<typeof letterItem>
export type LetterWhole = z.output<typeof letterWhole>
export type FailureGroup = z.output<typeof failureGroup>
export type ReplayItem = z.output<typeof replayItem>
export type GroupItem = z.output<typeof groupItem>
export type ParkedItem = z.output<typeof parkedItem>
export type QuarantineItem = z.output<typeof quarantineItem>
export type ProjectionItem = z.output<typeof projectionItem>
export type ProjectionVersion = z.output<typeof projectionVersion>
export type ProjectionJob = z.output<typeof projectionJob>
export type DeedItem = z.output<typeof deedItem>
