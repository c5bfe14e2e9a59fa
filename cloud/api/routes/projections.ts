import { z } from 'zod'
import { pageShape, projectionItem, projectionJob } from '../rules/shapes.ts'
import { deedOf, device, doersOf, dryRun, offered, reason, refuseNarrowed, unknown } from './asking.ts'
import { type Asked, type Parts, route, type Route } from './route.ts'
import type { Workplace } from './workplace.ts'

const tag = 'Projections'
const params = z.strictObject({ name: z.string().regex(/^[a-z][a-z0-9_]{0,30}$/) })
const version = z.int().min(1).max(9999)

const listProjections = route({
  method: 'get',
  path: '/v1/projections',
  tag,
  summary: 'Projections and their versions, by name',
  right: 'see',
  answer: pageShape(projectionItem),
  async handle(_, { reads }) {
    return { body: { items: await reads.projections(), next: null } }
  },
})

const showProjection = route({
  method: 'get',
  path: '/v1/projections/{name}',
  tag,
  summary: 'A projection: how far its versions are, and which one readers see',
  right: 'see',
  params,
  answer: projectionItem,
  problems: ['PROJECTION_UNKNOWN'],
  async handle({ params }, { reads }) {
    const found = (await reads.projections()).find(({ name }) => name === params.name)
    if (found === undefined) throw unknown('projection')
    return { body: found }
  },
})

const showJob = route({
  method: 'get',
  path: '/v1/projection-jobs/{job}',
  tag,
  summary: 'What became of a comparison, or of the rebuild of a device',
  right: 'see',
  params: z.strictObject({ job: z.uuid() }),
  answer: projectionJob,
  problems: ['PROJECTION_JOB_UNKNOWN'],
  async handle({ params }, { reads }) {
    const found = await reads.projectionJob(params.job)
    if (found === undefined) throw unknown('projection job')
    return { body: found }
  },
})

type Doing<B> = Asked<{ name: string }, unknown, B & { reason: string; dryRun: boolean }>

/** Projections are of all groups and types: who is for some alone changes none. */
function workplaceFor<B>(asked: Doing<B>, parts: Parts): Workplace {
  refuseNarrowed(asked.caller)
  return offered(doersOf(parts, asked.body.dryRun).workplace, 'change projections')
}

const of = { tag, right: 'operate', params } as const
const problems = ['PROJECTION_UNKNOWN', 'OUT_OF_SCOPE'] as const
const versionKey = z.object({ name: z.string(), version: z.int() })
const jobAsked = z.object({ job: z.string() })

const switchRoute = route({
  ...of,
  method: 'post',
  path: '/v1/projections/{name}/switch',
  summary: 'Has readers see another version, or the former one again',
  body: z
    .strictObject({
      reason,
      dryRun,
      version: version.optional(),
      back: z.literal(true).optional(),
      force: z
        .boolean()
        .default(false)
        .describe('however far behind it is, if nobody works at it, and if it counted less of history'),
    })
    .refine((body) => (body.version === undefined) !== (body.back === undefined), {
      error: 'needs a version, or back: one of the two',
    }),
  answer: versionKey.extend({ former: z.int() }),
  problems: [
    ...problems,
    'PROJECTION_ACTIVE',
    'PROJECTION_BEHIND',
    'PROJECTION_UNHELD',
    'PROJECTION_IN_USE',
    'PROJECTION_VIEW_USED',
    'PROJECTION_HISTORY_SHORTER',
  ],
  async handle(asked, parts) {
    const { reason, version, back, force } = asked.body
    const request = { name: asked.params.name, ...(back ? { back } : { version }), ...(force && { force }) }
    return { body: await workplaceFor(asked, parts).switchProjection(deedOf(asked, reason, request)) }
  },
})

const rebuild = route({
  ...of,
  method: 'post',
  path: '/v1/projections/{name}/rebuild',
  summary:
    'Has a version that is not active begin again, or makes the rows of one device anew in the active one',
  body: z
    .strictObject({
      reason,
      dryRun,
      version: version.optional(),
      device: device.optional(),
      force: z
        .boolean()
        .default(false)
        .describe('though it has counted what history has no more: that is gone then'),
    })
    .refine((body) => (body.version === undefined) !== (body.device === undefined), {
      error: 'needs a version, or a device: one of the two',
    }),
  status: 202,
  answer: z.union([versionKey, jobAsked]),
  problems: [
    ...problems,
    'PROJECTION_ACTIVE',
    'PROJECTION_IN_USE',
    'PROJECTION_JOBS_FULL',
    'PROJECTION_HISTORY_SHORTER',
  ],
  async handle(asked, parts) {
    const { reason, version, device } = asked.body
    const { name } = asked.params
    const forced = asked.body.force ? ({ force: true } as const) : {}
    const workplace = workplaceFor(asked, parts)
    if (version !== undefined)
      return { body: await workplace.rebuildProjection(deedOf(asked, reason, { name, version, ...forced })) }
    const request = { name, device: device ?? '', ...forced }
    const body = await workplace.rebuildDevice(deedOf(asked, reason, request))
    return { body, location: `/v1/projection-jobs/${body.job}` }
  },
})

const compare = route({
  ...of,
  method: 'post',
  path: '/v1/projections/{name}/compare',
  summary: 'Counts the rows of a version, and computes some of its keys again from history',
  body: z.strictObject({ reason, dryRun, version, sample: z.int().min(1).max(1000).default(20) }),
  status: 202,
  answer: jobAsked,
  problems: [...problems, 'PROJECTION_IN_USE', 'PROJECTION_JOBS_FULL'],
  async handle(asked, parts) {
    const { reason, version, sample } = asked.body
    const request = { name: asked.params.name, version, sample }
    const body = await workplaceFor(asked, parts).compareProjection(deedOf(asked, reason, request))
    return { body, location: `/v1/projection-jobs/${body.job}` }
  },
})

const skipped = z.string().min(1).max(256).describe('ID of the event at which it has stopped: it is left out')

const resume = route({
  ...of,
  method: 'post',
  path: '/v1/projections/{name}/resume',
  summary: 'Has a version go on that has stopped at an event: with it, or behind it',
  body: z.strictObject({ reason, dryRun, version, skip: skipped.optional() }),
  answer: versionKey.extend({ skipped: z.object({ source: z.string(), id: z.string() }).nullable() }),
  problems: [...problems, 'PROJECTION_IN_USE', 'PROJECTION_NOT_HALTED', 'PROJECTION_HALTED_ELSEWHERE'],
  async handle(asked, parts) {
    const { reason, version, skip } = asked.body
    const request = { name: asked.params.name, version, ...(skip !== undefined && { skip }) }
    return { body: await workplaceFor(asked, parts).resumeProjection(deedOf(asked, reason, request)) }
  },
})

const drop = route({
  ...of,
  method: 'post',
  path: '/v1/projections/{name}/drop',
  summary: 'Takes a version that is not active away, with its tables',
  body: z.strictObject({ reason, dryRun, version }),
  answer: versionKey,
  problems: [...problems, 'PROJECTION_ACTIVE', 'PROJECTION_HELD', 'PROJECTION_IN_USE'],
  async handle(asked, parts) {
    const { reason, version } = asked.body
    const request = { name: asked.params.name, version }
    return { body: await workplaceFor(asked, parts).dropProjection(deedOf(asked, reason, request)) }
  },
})

export const projectionRoutes: readonly Route[] = [
  listProjections,
  showProjection,
  showJob,
  switchRoute,
  rebuild,
  compare,
  resume,
  drop,
]
