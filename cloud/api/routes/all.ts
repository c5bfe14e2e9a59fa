import { z } from 'zod'
import { accessRoutes } from './access.ts'
import { eventRoutes } from './events.ts'
import { failureGroupRoutes } from './failure-groups.ts'
import { groupRoutes } from './groups.ts'
import { letterRoutes } from './letters.ts'
import { openapiOf } from './openapi.ts'
import { projectionRoutes } from './projections.ts'
import { quarantineRoutes } from './quarantine.ts'
import { replayRoutes } from './replays.ts'
import { route, type Route } from './route.ts'
import { schemaRoutes } from './schemas.ts'
import { whereRoutes } from './where.ts'

const describeRoutes = route({
  method: 'get',
  path: '/v1/openapi.json',
  tag: 'Access',
  summary: 'This document',
  right: undefined,
  answer: z.unknown(),
  handle: () => ({ body: (document ??= openapiOf(allRoutes)) }),
})

/** It takes some 20 ms to make, and anybody with a token may ask for it. */
let document: ReturnType<typeof openapiOf> | undefined

/** Everything that the API of the cloud can be asked for. */
export const allRoutes: readonly Route[] = [
  ...letterRoutes,
  ...failureGroupRoutes,
  ...replayRoutes,
  ...quarantineRoutes,
  ...eventRoutes,
  ...whereRoutes,
  ...groupRoutes,
  ...projectionRoutes,
  ...schemaRoutes,
  ...accessRoutes,
  describeRoutes,
]
