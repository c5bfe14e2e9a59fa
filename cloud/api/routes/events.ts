import { z } from 'zod'
import { eventTypePattern } from '../../../src/contract/event.ts'
import type { Filter } from '../../history/filtered-postgres.ts'
import { isCursor } from '../../history/reader.ts'
import { Refusal } from '../rules/problem.ts'
import type { Caller } from '../rules/roles.ts'
import { eventItem } from '../rules/shapes.ts'
import { device, offered } from './asking.ts'
import { route, type Route } from './route.ts'

const tag = 'Events'
const typesMax = 20
const instant = z.iso
  .datetime({ offset: true })
  .transform((text) => Date.parse(text))
  .optional()

const conditions = {
  type: z
    .string()
    .max(2_600)
    .transform((text) => text.split(','))
    .refine((types) => types.length <= typesMax && types.every((one) => eventTypePattern.test(one)), {
      error: `must be event types, separated by commas, at most ${typesMax}`,
    })
    .optional()
    .meta({ description: 'one or more, separated by commas', type: 'string' }),
  device: device.optional(),
  from: instant.meta({ description: 'the time of the event, at or after' }),
  until: instant.meta({ description: 'the time of the event, before' }),
  after: z.string().max(64).default('').meta({ description: 'a cursor; absent: from the beginning' }),
}

type Conditions = z.output<z.ZodObject<typeof conditions>>

function filterOf({ type, device, from, until }: Conditions, { types }: Caller): Filter {
  return {
    types: type === undefined ? types : type.filter((one) => types === undefined || types.includes(one)),
    ...(device !== undefined && { source: `/devices/${device}` }),
    fromMs: from,
    untilMs: until,
  }
}

/** All of history is read here, of whatever groups. @throws Refusal `OUT_OF_SCOPE` */
function refuseGroups({ groups }: Caller): void {
  if (groups === undefined || groups.includes('history')) return
  throw new Refusal({
    code: 'OUT_OF_SCOPE',
    status: 403,
    message: 'events are history’s, and your token is for other groups',
    hint: 'it takes a token without the claim groups, or with history among them',
  })
}

/** @throws Refusal `CURSOR_INVALID` */
function cursorIn(text: string): string {
  if (isCursor(text)) return text
  throw new Refusal({
    code: 'CURSOR_INVALID',
    status: 400,
    message: 'after is no cursor of history',
    hint: 'take next, or the cursor of an event, as it came: such as 28684800.7423.88120; or leave it out',
  })
}

const listEvents = route({
  method: 'get',
  path: '/v1/events',
  tag,
  summary: 'Events in the order in which none is ever skipped',
  right: 'payload',
  query: z.strictObject({
    ...conditions,
    limit: z
      .string()
      .regex(/^([1-9]\d{0,2}|1000)$/, 'must be a whole number from 1 to 1000')
      .default('100')
      .transform(Number)
      .meta({ description: '1 to 1000' }),
  }),
  answer: z.object({
    items: z.array(eventItem),
    next: z.string().describe('where to go on, now or later: a cursor'),
    more: z.boolean().describe('there may be more by now, also after a page without any'),
  }),
  problems: ['CURSOR_INVALID', 'CURSOR_AHEAD', 'OUT_OF_SCOPE'],
  async handle({ query, caller }, { events }) {
    refuseGroups(caller)
    const read = offered(events, 'read history').read
    const page = await read(cursorIn(query.after), filterOf(query, caller), query.limit)
    const items = page.events.map(({ text, storedAt, ...rest }) => ({
      ...rest,
      storedAt: storedAt.toISOString(),
      event: JSON.parse(text) as unknown,
    }))
    return { body: { items, next: page.next, more: page.more } }
  },
})

const streamEvents = route({
  method: 'get',
  path: '/v1/events/stream',
  tag,
  summary: 'The same as server-sent events: what there is, then what comes',
  right: 'payload',
  query: z.strictObject(conditions),
  answer: eventItem,
  streams: true,
  problems: ['CURSOR_INVALID', 'CURSOR_AHEAD', 'OUT_OF_SCOPE', 'STREAMS_FULL'],
  async handle({ query, caller, lastEventId }, { events }) {
    refuseGroups(caller)
    const after = cursorIn(lastEventId ?? query.after)
    const { streams, check } = offered(events, 'stream history')
    await check(after)
    const { actor: who, untilMs } = caller
    return { body: null, stream: streams.open({ after, filter: filterOf(query, caller), who, untilMs }) }
  },
})

export const eventRoutes: readonly Route[] = [listEvents, streamEvents]
