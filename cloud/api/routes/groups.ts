import { z } from 'zod'
import { Refusal } from '../rules/problem.ts'
import type { Caller } from '../rules/roles.ts'
import { groupItem, pageShape, parkedItem } from '../rules/shapes.ts'
import {
  deedOf,
  device,
  doersOf,
  dryRun,
  groupName,
  offered,
  paging,
  reason,
  refuseNarrowed,
  scopeOf,
  unknown,
} from './asking.ts'
import { type Parts, route, type Route } from './route.ts'

const tag = 'Groups'
const params = z.strictObject({ group: groupName })

async function visibleGroup(group: string, caller: Caller, { reads }: Parts) {
  const found = (await reads.groups(scopeOf(caller))).find((one) => one.group === group)
  if (found === undefined) throw unknown('group')
  return found
}

/** An instance without a beat for so long does not run. */
const notSeenMs = 300_000

/** What is skipped is made letters by who runs the group. */
function refuseUnattended(
  { group, instances }: Awaited<ReturnType<typeof visibleGroup>>,
  nowMs: number,
): void {
  if (instances.some(({ seenAt }) => nowMs - Date.parse(seenAt) < notSeenMs)) return
  throw new Refusal({
    code: 'GROUP_NOT_RUNNING',
    status: 409,
    message: `no instance runs ${group}: nobody would make letters of what waits`,
    hint: 'start its consumer again, paused if it is to try nothing, then skip',
  })
}

const listGroups = route({
  method: 'get',
  path: '/v1/groups',
  tag,
  summary: 'Consumer groups, by name',
  right: 'see',
  answer: pageShape(groupItem),
  async handle({ caller }, { reads }) {
    return { body: { items: await reads.groups(scopeOf(caller)), next: null } }
  },
})

const showGroup = route({
  method: 'get',
  path: '/v1/groups/{group}',
  tag,
  summary: 'A consumer group',
  right: 'see',
  params,
  answer: groupItem,
  problems: ['GROUP_UNKNOWN'],
  async handle({ params, caller }, parts) {
    return { body: await visibleGroup(params.group, caller, parts) }
  },
})

const changed = z.object({ group: z.string() })

const pause = route({
  method: 'post',
  path: '/v1/groups/{group}/pause',
  tag,
  summary: 'Has a group take nothing, in all instances; its queues keep everything',
  right: 'operate',
  params,
  body: z.strictObject({
    reason,
    dryRun,
    forMs: z
      .int()
      .min(1000)
      .max(30 * 86_400_000)
      .optional()
      .meta({ description: 'ends by itself after that; absent: when somebody resumes it' }),
  }),
  answer: changed,
  problems: ['GROUP_UNKNOWN', 'OUT_OF_SCOPE'],
  async handle(asked, parts) {
    refuseNarrowed({ ...asked.caller, groups: undefined })
    const { group } = await visibleGroup(asked.params.group, asked.caller, parts)
    const { reason, forMs } = asked.body
    const request = { group, ...(forMs !== undefined && { forMs }) }
    const { workplace } = doersOf(parts, asked.body.dryRun)
    return { body: await offered(workplace, 'pause groups').pause(deedOf(asked, reason, request)) }
  },
})

const resume = route({
  method: 'post',
  path: '/v1/groups/{group}/resume',
  tag,
  summary: 'Has a group work again, whoever paused it and why ever it tripped',
  right: 'operate',
  params,
  body: z.strictObject({ reason, dryRun }),
  answer: changed,
  problems: ['GROUP_UNKNOWN', 'GROUP_NOT_PAUSED', 'OUT_OF_SCOPE'],
  async handle(asked, parts) {
    refuseNarrowed({ ...asked.caller, groups: undefined })
    const { group } = await visibleGroup(asked.params.group, asked.caller, parts)
    const deed = deedOf(asked, asked.body.reason, { group })
    const { workplace } = doersOf(parts, asked.body.dryRun)
    return { body: await offered(workplace, 'resume groups').resume(deed) }
  },
})

const listParked = route({
  method: 'get',
  path: '/v1/groups/{group}/parked',
  tag,
  summary: 'Devices whose events wait behind one that fails, by ID',
  right: 'see',
  params,
  query: z.strictObject(paging),
  answer: pageShape(parkedItem),
  problems: ['GROUP_UNKNOWN', 'CURSOR_INVALID', 'OUT_OF_SCOPE'],
  async handle({ params, query, caller }, parts) {
    // Of a device that is parked nobody keeps which types wait.
    refuseNarrowed({ ...caller, groups: undefined })
    await visibleGroup(params.group, caller, parts)
    return { body: await parts.reads.parked(params.group, query) }
  },
})

const parkedChanged = z.object({
  group: z.string(),
  devices: z.int().min(0),
  inHand: z
    .int()
    .min(0)
    .meta({ description: 'others, that were being tried at that moment: nothing was done with them' }),
})
const which = { device: device.optional(), code: z.string().max(64).optional() }

const release = route({
  method: 'post',
  path: '/v1/groups/{group}/parked/release',
  tag,
  summary: 'Has parked devices tried now: all, one, or those whose last failure had a code',
  right: 'operate',
  params,
  body: z.strictObject({ ...which, reason, dryRun }),
  answer: parkedChanged,
  problems: ['GROUP_UNKNOWN', 'DEVICE_NOT_PARKED', 'OUT_OF_SCOPE'],
  async handle(asked, parts) {
    refuseNarrowed({ ...asked.caller, groups: undefined })
    const { group } = await visibleGroup(asked.params.group, asked.caller, parts)
    const { reason, dryRun, ...rest } = asked.body
    const { workplace } = doersOf(parts, dryRun)
    const deed = deedOf(asked, reason, { group, ...rest })
    return { body: await offered(workplace, 'release parked devices').release(deed) }
  },
})

const skip = route({
  method: 'post',
  path: '/v1/groups/{group}/parked/skip',
  tag,
  summary: 'Makes dead letters of what waits of parked devices: of the first, if it has failed, or of all',
  right: 'operate',
  params,
  body: z.strictObject({ ...which, what: z.enum(['first', 'all']).default('first'), reason, dryRun }),
  answer: parkedChanged,
  problems: ['GROUP_UNKNOWN', 'DEVICE_NOT_PARKED', 'DEVICE_IN_HAND', 'GROUP_NOT_RUNNING', 'OUT_OF_SCOPE'],
  async handle(asked, parts) {
    refuseNarrowed({ ...asked.caller, groups: undefined })
    const found = await visibleGroup(asked.params.group, asked.caller, parts)
    refuseUnattended(found, parts.clock.now())
    const { reason, dryRun, ...rest } = asked.body
    const { workplace } = doersOf(parts, dryRun)
    const deed = deedOf(asked, reason, { group: found.group, ...rest })
    return { body: await offered(workplace, 'skip parked events').skip(deed) }
  },
})

export const groupRoutes: readonly Route[] = [listGroups, showGroup, pause, resume, listParked, release, skip]
