import { z } from 'zod'
import { whereAnswer } from '../rules/where-shapes.ts'
import { scopeOf, word } from './asking.ts'
import { route, type Route } from './route.ts'

const where = route({
  method: 'get',
  path: '/v1/where',
  tag: 'Events',
  summary: 'What has become of an event: every hop, with times',
  right: 'see',
  query: z.strictObject({
    id: word(1024).meta({
      description: 'the ID of the event, or the one that its device gave a rejected reading',
    }),
    source: word(256).optional().meta({ description: 'such as /devices/sensor-010; absent: of any device' }),
  }),
  answer: whereAnswer,
  async handle({ query, caller }, { reads }) {
    return { body: await reads.where(query, scopeOf(caller)) }
  },
})

export const whereRoutes: readonly Route[] = [where]
