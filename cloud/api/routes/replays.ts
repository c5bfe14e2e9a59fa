import { z } from 'zod'
import { eventTypePattern } from '../../../src/contract/event.ts'
import { generationPattern } from '../../../src/contract/wire.ts'
import type { HistorySelection, LetterFilter } from '../../deeds/deeds.ts'
import { Refusal } from '../rules/problem.ts'
import type { Caller } from '../rules/roles.ts'
import { pageShape, type ReplayItem, replayItem } from '../rules/shapes.ts'
import {
  deedOf,
  device,
  filter,
  filterOf,
  groupName,
  instant,
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

const historyPreview = z.object({
  group: z.string(),
  events: count.meta({ description: 'that it would look at: of the first 100,000' }),
  isWhole: z.boolean().meta({ description: 'all was looked at' }),
  byType: z.array(z.object({ type: z.string(), events: count })),
  keepsInbox: z
    .boolean()
    .nullable()
    .meta({ description: 'whether a generation applies to it; null: it does not run in this instance' }),
})

const history = z
  .strictObject({
    group: groupName,
    types: z.array(z.string().regex(eventTypePattern)).min(1).max(20).optional(),
    device: device.optional(),
    from: instant.optional().meta({ description: 'the time of the event, at or after' }),
    until: instant.optional().meta({ description: 'the time of the event, before' }),
    after: z.string().max(64).optional().meta({ description: 'a cursor; absent: from the beginning' }),
  })
  .meta({ description: 'events of history that were accepted, and the group they are sent to' })

const startBody = z.strictObject({
  reason: reason.optional().meta({ description: 'required, but for a dry run' }),
  filter: filter.optional().meta({ description: 'which letters; this or history' }),
  history: history.optional(),
  generation: z.string().regex(generationPattern).optional().meta({
    description:
      'of history: events that were processed have their effect once more, once for each generation; without one they are repeats',
  }),
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
})

type StartBody = z.output<typeof startBody>

const startReplay = route({
  method: 'post',
  path: '/v1/replays',
  tag,
  summary: 'Sends letters back to their group, or events of history to one; or says what that would do',
  right: 'operate',
  body: startBody,
  status: 202,
  answer: z.object({
    replay: count.optional(),
    total: count.optional(),
    preview: preview.optional().meta({ description: 'of a dry run of letters, with status 200' }),
    history: historyPreview.optional().meta({ description: 'of a dry run of history, with status 200' }),
  }),
  problems: [
    'OUT_OF_SCOPE',
    'REASON_MISSING',
    'REPLAY_SOURCE',
    'FILTER_EMPTY',
    'GROUP_UNKNOWN',
    'REPLAY_TO_HISTORY',
    'GENERATION_INAPPLICABLE',
    'REPLAY_BEYOND_INBOX',
    'CURSOR_INVALID',
    'CURSOR_AHEAD',
  ],
  async handle(asked, parts) {
    const { reason, generation, dryRun, ...how } = asked.body
    const deeds = offered(parts.deeds, 'replay letters')
    const source = sourceOf(asked.body)
    refuseOthers(asked.caller, source)
    if (dryRun && source.history)
      return { body: { history: await deeds.previewHistory(source.history, generation) }, status: 200 }
    if (dryRun && source.filter) return { body: { preview: await deeds.preview(source.filter) }, status: 200 }
    if (reason === undefined) throw reasonMissing()
    const request = {
      ...source,
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
    refuseOthersReplay(caller, found)
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
    refuseOthersReplay(asked.caller, found)
    await offered(deeds, 'stop replays').stopReplay(deedOf(asked, asked.body.reason, { replay }))
    return { body: (await reads.replay(replay)) ?? found }
  },
})

const resumeReplay = route({
  method: 'post',
  path: '/v1/replays/{replay}/resume',
  tag,
  summary: 'A replay out of history that has stopped goes on where it was',
  right: 'operate',
  params,
  body: z.strictObject({ reason }),
  answer: replayItem,
  problems: ['REPLAY_UNKNOWN', 'REPLAY_NOT_RESUMABLE'],
  async handle(asked, { reads, deeds }) {
    const { replay } = asked.params
    const found = await reads.replay(replay)
    if (found === undefined) throw unknown('replay')
    refuseOthersReplay(asked.caller, found)
    await offered(deeds, 'resume replays').resumeReplay(deedOf(asked, asked.body.reason, { replay }))
    return { body: (await reads.replay(replay)) ?? found }
  },
})

type Source =
  | { filter: LetterFilter; history?: undefined }
  | { filter?: undefined; history: HistorySelection; generation?: string }

/** @throws Refusal `REPLAY_SOURCE` */
function sourceOf({ filter, history, generation, believe }: StartBody): Source {
  if (filter !== undefined && history === undefined && generation === undefined)
    return { filter: filterOf(filter) }
  if (history === undefined || filter !== undefined || believe) throw sourceRefused()
  const { from, until, ...rest } = history
  return {
    history: { ...rest, fromMs: from, untilMs: until },
    ...(generation !== undefined && { generation }),
  }
}

/** What is of several types is for those who are for each of them. @throws Refusal `OUT_OF_SCOPE` */
function refuseOthers(caller: Caller, { filter, history }: Source): void {
  if (filter) return refuseOutside(caller, filter)
  const { group, types = [undefined] } = history
  for (const type of types) refuseOutside(caller, { group, ...(type !== undefined && { type }) })
}

/** A replay is for those who could have asked for it. @throws Refusal `REPLAY_UNKNOWN` */
function refuseOthersReplay(caller: Caller, { source, filter }: Pick<ReplayItem, 'source' | 'filter'>): void {
  try {
    if (source === 'letters') refuseOutside(caller, filter as LetterFilter)
    else {
      const { group, history } = filter as { group: string; history: Omit<HistorySelection, 'group'> }
      refuseOthers(caller, { history: { group, ...history } })
    }
  } catch {
    throw unknown('replay')
  }
}

function sourceRefused(): Refusal {
  return new Refusal({
    code: 'REPLAY_SOURCE',
    status: 422,
    message:
      'a replay is of letters (filter), or of history (history, with or without a generation), and this is not one of the two',
    hint: 'believe is for letters alone, generation for history alone',
    faults: [{ path: 'history', text: 'or filter, one of the two' }],
  })
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

export const replayRoutes: readonly Route[] = [startReplay, listReplays, showReplay, stopReplay, resumeReplay]
