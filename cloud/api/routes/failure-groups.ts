import { z } from 'zod'
import { failureGroup, failureStatuses, pageShape } from '../rules/shapes.ts'
import {
  deedOf,
  fingerprint,
  groupName,
  offered,
  paging,
  prose,
  reason,
  scopeOf,
  unknown,
  word,
} from './asking.ts'
import { route, type Route } from './route.ts'

const tag = 'Failure groups'
const params = z.strictObject({ fingerprint })

const listGroups = route({
  method: 'get',
  path: '/v1/failure-groups',
  tag,
  summary: 'Dead letters by what is the same in them, those that were seen last first',
  right: 'see',
  query: z.strictObject({
    ...paging,
    group: groupName.optional(),
    code: word(100).optional(),
    status: z
      .enum([...failureStatuses, 'all'])
      .optional()
      .meta({ description: 'absent: those with open letters that are not muted' }),
  }),
  answer: pageShape(failureGroup),
  problems: ['CURSOR_INVALID'],
  async handle({ query, caller }, { reads }) {
    return { body: await reads.failureGroups(query, scopeOf(caller)) }
  },
})

const showGroup = route({
  method: 'get',
  path: '/v1/failure-groups/{fingerprint}',
  tag,
  summary: 'A failure group',
  right: 'see',
  params,
  answer: failureGroup,
  problems: ['FAILURE_GROUP_UNKNOWN'],
  async handle({ params, caller }, { reads }) {
    const found = await reads.failureGroup(params.fingerprint, scopeOf(caller))
    if (found === undefined) throw unknown('failure group')
    return { body: found.item, version: found.version }
  },
})

const changeGroup = route({
  method: 'patch',
  path: '/v1/failure-groups/{fingerprint}',
  tag,
  summary: 'Notes, owner and issue of a failure group; mutes it, or says that it is resolved',
  right: 'operate',
  params,
  body: z
    .strictObject({
      reason,
      note: prose(4000).nullable().optional(),
      owner: word(200).nullable().optional(),
      issue: word(500).nullable().optional(),
      status: z
        .enum(['open', 'muted', 'resolved'])
        .optional()
        .meta({ description: 'resolved: a new letter makes it regressed' }),
    })
    .refine(
      ({ note, owner, issue, status }) => [note, owner, issue, status].some((one) => one !== undefined),
      {
        error: 'changes nothing: give note, owner, issue or status',
      },
    ),
  conditional: true,
  answer: failureGroup,
  problems: ['FAILURE_GROUP_UNKNOWN', 'FAILURE_GROUP_CHANGED'],
  async handle(asked, { reads, workplace }) {
    const { fingerprint } = asked.params
    const scope = scopeOf(asked.caller)
    const found = await reads.failureGroup(fingerprint, scope)
    if (found === undefined) throw unknown('failure group')
    const { reason, ...change } = asked.body
    const ifMatch = asked.ifMatch ?? '*'
    await offered(workplace, 'change failure groups').changeGroup(
      deedOf(asked, reason, { fingerprint, change, ifMatch }),
    )
    const changed = await reads.failureGroup(fingerprint, scope)
    return { body: changed?.item ?? found.item, version: changed?.version ?? found.version }
  },
})

export const failureGroupRoutes: readonly Route[] = [listGroups, showGroup, changeGroup]
