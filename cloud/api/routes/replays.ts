import { z } from 'zod'
import type { LetterFilter } from '../../deeds/deeds.ts'
import { Refusal } from '../rules/problem.ts'
import type { Caller } from '../rules/roles.ts'
import { pageShape, replayItem } from '../rules/shapes.ts'
import {
  deedOf,
  filter,
  filterOf,
  numberText,
  offered,
  paging,
  reason,
  refuseNarrowed,
  refuseOutside,
  unknown,
} from './asking.ts'
import { route, type Route } from './route.ts'

const tag = 'Replays'
const params = z.strictObject({ replay: numberText })
const count = z.int().min(0)

const preview = z.object({
  letters: count,
  unvetted: count.meta({
    description:
      'of these, those that were never believed to come from where they say: each is asked again, unless `believe`',
  }),
  byFingerprint: z.array(
    z.object({ fingerprint: z.string(), group: z.string(), code: z.string(), letters: count }),
  ),
  byDevice: z.array(z.object({ device: z.string(), letters: count })),
  schema: z
    .object({ checked: count, accepted: count, refused: count })
    .meta({ description: 'whether today’s schemas accept them: of the first 10,000' }),
  parked: z.array(z.object({ group: z.string(), device: z.string() })),
  heldGroups: z.array(z.object({ group: z.string(), state: z.string(), reason: z.string().optional() })),
})

const startReplay = route({
  method: 'post',
  path: '/v1/replays',
  tag,
  summary: 'Sends letters back to their group; or says what that would do',
  right: 'operate',
  body: z.strictObject({
    reason: reason.optional().meta({ description: 'required, but for a dry run' }),
    filter,
    dryRun: z.boolean().default(false),
    believe: z.boolean().default(false).meta({
      description: 'also letters that were never believed to come from where they say, as forgeries are',
    }),
    ratePerSecond: z.number().positive().max(100_000).optional(),
    ramp: z
      .array(z.int().min(1).max(10_000_000))
      .max(20)
      .optional()
      .meta({ description: 'so many, and no more until they are settled; then the next number' }),
    stopAtShare: z
      .number()
      .min(0)
      .max(1)
      .optional()
      .meta({ description: 'of those settled, the share that may have failed' }),
  }),
  status: 202,
  answer: z.object({
    replay: count.optional(),
    total: count.optional(),
    preview: preview.optional().meta({ description: 'of a dry run, with status 200' }),
  }),
  problems: ['OUT_OF_SCOPE', 'REASON_MISSING', 'FILTER_EMPTY'],
  async handle(asked, parts) {
    const { reason, filter, dryRun, ...how } = asked.body
    const conditions = filterOf(filter)
    refuseOutside(asked.caller, conditions)
    const deeds = offered(parts.deeds, 'replay letters')
    if (dryRun) return { body: { preview: await deeds.preview(conditions) }, status: 200 }
    if (reason === undefined) throw reasonMissing()
    const request = {
      filter: conditions,
      ...(how.believe && { believe: true }),
      ...(how.ratePerSecond !== undefined && { ratePerSecond: how.ratePerSecond }),
      ...(how.ramp !== undefined && { ramp: how.ramp }),
      ...(how.stopAtShare !== undefined && { stopAtShare: how.stopAtShare }),
    }
    const { replay, total } = await deeds.replay(deedOf(asked, reason, request))
    return { body: { replay, total }, location: `/v1/replays/${replay}` }
  },
})

const listReplays = route({
  method: 'get',
  path: '/v1/replays',
  tag,
  summary: 'Replays, newest first',
  right: 'see',
  query: z.strictObject(paging),
  answer: pageShape(replayItem),
  problems: ['CURSOR_INVALID', 'OUT_OF_SCOPE'],
  async handle({ query, caller }, { reads }) {
    refuseNarrowed(caller)
    return { body: await reads.replays(query) }
  },
})

const showReplay = route({
  method: 'get',
  path: '/v1/replays/{replay}',
  tag,
  summary: 'How far a replay is',
  right: 'see',
  params,
  answer: replayItem,
  problems: ['REPLAY_UNKNOWN'],
  async handle({ params, caller }, { reads }) {
    const found = await reads.replay(params.replay)
    if (found === undefined) throw unknown('replay')
    refuseOthersReplay(caller, found.filter)
    return { body: found }
  },
})

const stopReplay = route({
  method: 'post',
  path: '/v1/replays/{replay}/stop',
  tag,
  summary: 'Sends nothing more; what is on its way is settled',
  right: 'operate',
  params,
  body: z.strictObject({ reason }),
  answer: replayItem,
  problems: ['REPLAY_UNKNOWN'],
  async handle(asked, { reads, deeds }) {
    const { replay } = asked.params
    const found = await reads.replay(replay)
    if (found === undefined) throw unknown('replay')
    refuseOthersReplay(asked.caller, found.filter)
    await offered(deeds, 'stop replays').stopReplay(deedOf(asked, asked.body.reason, { replay }))
    return { body: (await reads.replay(replay)) ?? found }
  },
})

/** A replay is for those who could have asked for it. @throws Refusal `REPLAY_UNKNOWN` */
function refuseOthersReplay(caller: Caller, filter: unknown): void {
  try {
    refuseOutside(caller, filter as LetterFilter)
  } catch {
    throw unknown('replay')
  }
}

function reasonMissing(): Refusal {
  return new Refusal({
    code: 'REASON_MISSING',
    status: 422,
    message: 'a replay needs a reason: it is on record with the deed',
    hint: 'say why in reason, or ask what would be done with dryRun',
    faults: [{ path: 'reason', text: 'is missing' }],
  })
}

export const replayRoutes: readonly Route[] = [startReplay, listReplays, showReplay, stopReplay]
