import { z } from 'zod'
import { deviceIdPattern } from '../../../src/contract/event.ts'
import type { Deed, LetterFilter } from '../../deeds/deeds.ts'
import type { Scope } from '../reads/reads.ts'
import { Refusal } from '../rules/problem.ts'
import type { Caller } from '../rules/roles.ts'
import type { Asked, Parts } from './route.ts'

/** No control characters: PostgreSQL has no NUL, and a log no line ends in a name. */
// oxlint-disable-next-line no-control-regex -- control characters are what it keeps out
const printable = /^[^\u0000-\u001f\u007f]*$/

export const word = (lengthMax: number) => z.string().min(1).max(lengthMax).regex(printable)
export const prose = (lengthMax: number) =>
  z
    .string()
    .min(1)
    .max(lengthMax)
    // oxlint-disable-next-line no-control-regex -- as above, and people write lines
    .regex(/^[^\u0000-\u0008\u000b-\u001f\u007f]*$/)

export const groupName = z.string().regex(/^[a-z][a-z0-9-]{0,63}$/)
export const fingerprint = z.string().regex(/^[0-9a-f]{8,64}$/)
export const device = z.string().regex(deviceIdPattern)
/** In a path or a query everything is text. */
export const numberText = z
  .string()
  .regex(/^\d{1,15}$/)
  .transform(Number)
  .meta({ type: 'integer' })
export const instant = z.iso.datetime({ offset: true }).transform((text) => Date.parse(text))

export const paging = {
  limit: z
    .string()
    .regex(/^([1-9]\d?|[1-4]\d\d|500)$/, 'must be a whole number from 1 to 500')
    .default('50')
    .transform(Number)
    .meta({ description: '1 to 500' }),
  after: z.string().max(512).optional().meta({ description: 'next of the page before' }),
}

export const reason = prose(1000).meta({ description: 'why; it is on record with the deed' })

/** Which letters: at least one condition. */
export const filter = z
  .strictObject({
    group: groupName.optional(),
    code: word(100).optional(),
    fingerprint: fingerprint.optional(),
    device: word(64).optional(),
    type: word(128).optional(),
    letter: z.int().min(1).optional(),
    since: instant.optional(),
    until: instant.optional(),
  })
  .refine((conditions) => Object.values(conditions).some((one) => one !== undefined), {
    error: 'needs a condition: all letters of all groups at once are never meant',
  })

export function filterOf({ since, until, ...rest }: z.output<typeof filter>): LetterFilter {
  const conditions = Object.entries({ ...rest, sinceMs: since, untilMs: until })
  return Object.fromEntries(conditions.filter(([, value]) => value !== undefined))
}

export function scopeOf({ groups, types }: Caller): Scope {
  return { groups, types }
}

export function deedOf<R>(
  { key, caller }: Asked<unknown, unknown, unknown>,
  reason: string,
  request: R,
): Deed<R> {
  return { key, by: { actor: caller.actor, roles: caller.roles }, reason, request }
}

/** A part that this cloud may not have. @throws Refusal `NOT_OFFERED` */
export function offered<T>(part: T | undefined, what: string): T {
  if (part !== undefined) return part
  throw new Refusal({
    code: 'NOT_OFFERED',
    status: 501,
    message: `this cloud cannot ${what}`,
    hint: 'see docs/API.md for what has to be set, or for the version that can',
  })
}

/** Of a deed: all is done as if, and nothing stays. Its reason is on no record either. */
export const dryRun = z
  .boolean()
  .default(false)
  .meta({ description: 'answers with what would be done, or refused; nothing is' })

/** The parts that do it, or only try. @throws Refusal `NOT_OFFERED` */
export function doersOf(parts: Parts, isTrial: boolean): Parts {
  return isTrial ? { ...parts, ...offered(parts.trial, 'try this') } : parts
}

const unknowns = {
  'dead letter': { code: 'LETTER_UNKNOWN' },
  'failure group': { code: 'FAILURE_GROUP_UNKNOWN' },
  replay: { code: 'REPLAY_UNKNOWN' },
  group: { code: 'GROUP_UNKNOWN' },
  projection: { code: 'PROJECTION_UNKNOWN' },
  'projection job': { code: 'PROJECTION_JOB_UNKNOWN' },
} as const

/** What there is not, or is not for this caller: the two are not told apart. */
export function unknown(what: keyof typeof unknowns): Refusal {
  return new Refusal({
    ...unknowns[what],
    status: 404,
    message: `there is no such ${what}, or it is not for you`,
    hint: 'a token may be for some groups and types alone: GET /v1/me',
  })
}

/**
 * A deed about many letters must be about letters that its caller is for: a filter that says nothing of groups is about all groups.
 * @throws Refusal `OUT_OF_SCOPE`
 */
export function refuseOutside({ groups, types }: Caller, { group, type }: LetterFilter): void {
  const isInside =
    (groups === undefined || (group !== undefined && groups.includes(group))) &&
    (types === undefined || (type !== undefined && types.includes(type)))
  if (isInside) return
  const names = [
    ...(groups === undefined ? [] : [`a group of ${groups.join(', ')}`]),
    ...(types === undefined ? [] : [`a type of ${types.join(', ')}`]),
  ]
  throw new Refusal({
    code: 'OUT_OF_SCOPE',
    status: 403,
    message: `your token is for some groups or types alone, and the filter is for others too`,
    hint: `name ${names.join(' and ')} in the filter`,
  })
}

/** What is of all groups is not for those who are for some. @throws Refusal `OUT_OF_SCOPE` */
export function refuseNarrowed({ groups, types }: Caller): void {
  if (groups === undefined && types === undefined) return
  throw new Refusal({
    code: 'OUT_OF_SCOPE',
    status: 403,
    message: 'this is about all groups and types, and your token is for some alone',
    hint: 'it takes a token without the claims groups and types',
  })
}
