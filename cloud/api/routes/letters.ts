import { z } from 'zod'
import type { JsonPatch } from '../../deeds/deeds.ts'
import { letterItem, letterStates, letterWhole, pageShape } from '../rules/shapes.ts'
import {
  deedOf,
  doersOf,
  dryRun,
  filter,
  filterOf,
  fingerprint,
  groupName,
  numberText,
  offered,
  paging,
  reason,
  refuseOutside,
  scopeOf,
  unknown,
  word,
} from './asking.ts'
import { type Asked, type Parts, route, type Route } from './route.ts'

const tag = 'Dead letters'
const params = z.strictObject({ letter: numberText })
const since = z.iso
  .datetime({ offset: true })
  .transform((text) => Date.parse(text))
  .optional()

const pointer = z
  .string()
  .max(1000)
  .regex(/^(\/([^~/]|~[01])*)*$/, 'must be a JSON Pointer (RFC 6901)')
const operation = z.union([
  z.strictObject({ op: z.enum(['add', 'replace', 'test']), path: pointer, value: z.json() }),
  z.strictObject({ op: z.literal('remove'), path: pointer }),
  z.strictObject({ op: z.enum(['move', 'copy']), from: pointer, path: pointer }),
])

/** Of a caller for some groups or types alone: whether it may know of the letter. @throws Refusal `LETTER_UNKNOWN` */
async function visibleLetter(
  { params, caller }: Asked<{ letter: number }, unknown, unknown>,
  { reads }: Parts,
) {
  const found = await reads.letter(params.letter, scopeOf(caller))
  if (found === undefined) throw unknown('dead letter')
  return found
}

const listLetters = route({
  method: 'get',
  path: '/v1/dead-letters',
  tag,
  summary: 'Dead letters, newest first',
  right: 'see',
  query: z.strictObject({
    ...paging,
    group: groupName.optional(),
    code: word(100).optional(),
    fingerprint: fingerprint.optional(),
    device: word(64).optional(),
    type: word(128).optional(),
    state: z
      .enum([...letterStates, 'all'])
      .optional()
      .meta({ description: 'absent: open and replaying' }),
    since,
    until: since,
  }),
  answer: pageShape(letterItem),
  problems: ['CURSOR_INVALID'],
  async handle({ query: { since: sinceMs, until: untilMs, ...query }, caller }, { reads }) {
    return { body: await reads.letters({ ...query, sinceMs, untilMs }, scopeOf(caller)) }
  },
})

const showLetter = route({
  method: 'get',
  path: '/v1/dead-letters/{letter}',
  tag,
  summary: 'A dead letter with its story',
  right: 'see',
  params,
  answer: letterWhole,
  problems: ['LETTER_UNKNOWN'],
  async handle(asked, parts) {
    const { item, version } = await visibleLetter(asked, parts)
    return { body: item, version }
  },
})

const editLetter = route({
  method: 'post',
  path: '/v1/dead-letters/{letter}/edit',
  tag,
  summary: 'Corrects the data of a letter for its next replay; what came stays where it is',
  right: 'edit',
  params,
  body: z.strictObject({
    reason,
    dryRun,
    patch: z
      .array(operation)
      .max(100)
      .meta({ description: 'RFC 6902, on data alone; empty: takes the edit back' }),
  }),
  conditional: true,
  answer: z.object({ letter: z.int(), state: z.string() }),
  problems: ['LETTER_UNKNOWN', 'LETTER_CHANGED', 'LETTER_CLOSED', 'EDIT_REFUSED', 'SCHEMA_VIOLATION'],
  async handle(asked, parts) {
    const { params, body, ifMatch } = asked
    await visibleLetter(asked, parts)
    const request = {
      letter: params.letter,
      patch: body.patch as JsonPatch,
      ...(ifMatch !== undefined && ifMatch !== '*' && { ifMatch }),
    }
    const { version, ...state } = await offered(doersOf(parts, body.dryRun).deeds, 'edit letters').edit(
      deedOf(asked, body.reason, request),
    )
    return { body: state, version }
  },
})

const discarded = z.object({
  discarded: z.int().meta({ description: 'so far' }),
  total: z.int().optional().meta({
    description:
      'that matched and were open when it was asked for; absent: more than 100,000, which are not counted (a dry run then says 100,000)',
  }),
  done: z.boolean().meta({ description: 'false: ask again with the same Idempotency-Key, and it goes on' }),
})

const discardLetter = route({
  method: 'post',
  path: '/v1/dead-letters/{letter}/discard',
  tag,
  summary: 'Closes a letter that is not to be processed',
  right: 'operate',
  params,
  body: z.strictObject({ reason }),
  answer: discarded,
  problems: ['LETTER_UNKNOWN'],
  async handle(asked, parts) {
    await visibleLetter(asked, parts)
    const request = { filter: { letter: asked.params.letter } }
    const deed = deedOf(asked, asked.body.reason, request)
    return { body: await offered(parts.deeds, 'discard letters').discard(deed) }
  },
})

const discardLetters = route({
  method: 'post',
  path: '/v1/dead-letters/discard',
  tag,
  summary: 'Closes the open letters that match and are not to be processed',
  right: 'operate',
  body: z.strictObject({ reason, dryRun, filter }),
  answer: discarded,
  problems: ['OUT_OF_SCOPE'],
  async handle(asked, parts) {
    const conditions = filterOf(asked.body.filter)
    refuseOutside(asked.caller, conditions)
    const deed = deedOf(asked, asked.body.reason, { filter: conditions })
    return { body: await offered(doersOf(parts, asked.body.dryRun).deeds, 'discard letters').discard(deed) }
  },
})

/** What has no number comes first: `discard` is no letter. */
export const letterRoutes: readonly Route[] = [
  listLetters,
  discardLetters,
  showLetter,
  editLetter,
  discardLetter,
]
