import { z } from 'zod'
import { pageShape, quarantineItem } from '../rules/shapes.ts'
import {
  deedOf,
  device,
  doersOf,
  dryRun,
  numberText,
  offered,
  paging,
  reason,
  refuseNarrowed,
  scopeOf,
  word,
} from './asking.ts'
import { route, type Route } from './route.ts'

const tag = 'Quarantine'

const listQuarantine = route({
  method: 'get',
  path: '/v1/quarantine',
  tag,
  summary: 'Readings that gateways have rejected, newest first',
  right: 'see',
  query: z.strictObject({
    ...paging,
    gateway: device.optional(),
    device: device.optional(),
    reason: word(64).optional(),
  }),
  answer: pageShape(quarantineItem),
  problems: ['CURSOR_INVALID'],
  async handle({ query, caller }, { reads }) {
    return { body: await reads.quarantine(query, scopeOf(caller)) }
  },
})

const admit = route({
  method: 'post',
  path: '/v1/quarantine/{gateway}/{epoch}/{sequence}/admit',
  tag,
  summary: 'Makes an event of a rejected reading, once its schema or its route was mended',
  right: 'edit',
  params: z.strictObject({
    gateway: device,
    epoch: z.string().regex(/^[0-9A-Za-z]{1,26}$/),
    sequence: numberText,
  }),
  body: z.strictObject({
    reason,
    dryRun,
    type: word(128).optional().meta({ description: 'its event type, if the gateway did not know it' }),
    time: z.iso
      .datetime({ offset: true })
      .optional()
      .meta({ description: 'of a reading that has none; absent: when the gateway got it' }),
  }),
  answer: z.object({
    gateway: z.string(),
    epoch: z.string(),
    sequence: z.int(),
    source: z.string(),
    id: z.string(),
    type: z.string(),
  }),
  problems: ['READING_UNKNOWN', 'ADMISSION_REFUSED', 'IDENTITY_TAKEN', 'SCHEMA_VIOLATION'],
  async handle(asked, parts) {
    // It goes to every group.
    refuseNarrowed(asked.caller)
    const { reason, type, time } = asked.body
    const request = {
      ...asked.params,
      ...(type !== undefined && { type }),
      ...(time !== undefined && { time }),
    }
    const { deeds } = doersOf(parts, asked.body.dryRun)
    const admitted = await offered(deeds, 'admit readings').admit(deedOf(asked, reason, request))
    return { body: admitted }
  },
})

export const quarantineRoutes: readonly Route[] = [listQuarantine, admit]
