import { z } from 'zod'
import { rightTexts } from '../rules/roles.ts'
import type { Route } from './route.ts'

type Json = Readonly<Record<string, unknown>>

const everyProblem = [
  'REQUEST_INVALID',
  'TOKEN_MISSING',
  'TOKEN_REFUSED',
  'ROLE_MISSING',
  'RIGHT_MISSING',
  'TOO_MANY_REQUESTS',
  'API_FAILED',
]

const problem = {
  type: 'object',
  required: ['type', 'title', 'status', 'code', 'detail', 'hint'],
  properties: {
    type: { type: 'string', format: 'uri' },
    title: { type: 'string' },
    status: { type: 'integer' },
    code: { type: 'string', description: 'docs/ERRORS.md has a line for each' },
    detail: { type: 'string' },
    hint: { type: 'string' },
    faults: {
      type: 'array',
      items: {
        type: 'object',
        required: ['path', 'text'],
        properties: { path: { type: 'string' }, text: { type: 'string' } },
      },
    },
  },
} as const

const jsonValue = { description: 'Any JSON value.' } as const
/** How zod names the one recursive schema that there is, `z.json()`, and refers to it as if its schema were the whole document. */
const recursive = '__schema0'

const keyParameter = {
  name: 'Idempotency-Key',
  in: 'header',
  required: true,
  description: 'A UUID. The same key with the same request is the same deed, and has the same answer.',
  schema: { type: 'string', format: 'uuid' },
} as const

const lastIdParameter = {
  name: 'Last-Event-ID',
  in: 'header',
  required: false,
  description: 'The ID of the last event that came: goes on after it. Before ?after=.',
  schema: { type: 'string' },
} as const

const noneMatchParameter = {
  name: 'If-None-Match',
  in: 'header',
  required: false,
  description: 'The ETag of what is had already.',
  schema: { type: 'string' },
} as const

const matchParameter = {
  name: 'If-Match',
  in: 'header',
  required: true,
  description: 'The ETag of what was seen; * for whatever it is.',
  schema: { type: 'string' },
} as const

/** The OpenAPI 3.1 document of some routes: made of them, so that it cannot say what is not so. */
export function openapiOf(routes: readonly Route[]): Json {
  const paths: Record<string, Record<string, unknown>> = {}
  for (const route of routes) {
    const path = (paths[route.path] ??= {})
    path[route.method] = operationOf(route)
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Tidegate cloud',
      version: '1',
      description:
        'What failed, and what to do about it. Fields with x-tidegate-right: payload are left out for those without that right. docs/API.md explains roles, cursors and keys.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    security: [{ token: [] }],
    tags: [...new Set(routes.map(({ tag }) => tag))].map((name) => ({ name })),
    paths,
    components: {
      securitySchemes: { token: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' } },
      schemas: { Problem: problem, JsonValue: jsonValue },
    },
  }
}

function operationOf(route: Route): Json {
  const {
    right,
    summary,
    tag,
    method,
    path,
    status,
    answer,
    body,
    writes,
    conditional,
    streams,
    raw,
    problems = [],
  } = route
  const parameters = [
    ...parametersOf(route.params, 'path'),
    ...parametersOf(route.query, 'query'),
    ...(writes ? [keyParameter] : []),
    ...(conditional ? [matchParameter] : []),
    ...(streams ? [lastIdParameter] : []),
    ...(raw !== undefined ? [noneMatchParameter] : []),
  ]
  return {
    operationId: `${method} ${path}`.replaceAll(/[^a-z0-9]+/gi, '-').replace(/-$/, ''),
    tags: [tag],
    summary,
    ...(right !== undefined && {
      'x-tidegate-right': right,
      description: `Right: ${right} (${rightTexts[right]}).`,
    }),
    ...(route.localOnly && { 'x-tidegate-local-only': true }),
    ...(parameters.length > 0 && { parameters }),
    ...(body && {
      requestBody: { required: true, content: { 'application/json': { schema: jsonSchema(body, 'input') } } },
    }),
    responses: {
      [status]: streams ? streamOf(answer) : raw === undefined ? success(status, answer) : rawOf(raw),
      ...(raw !== undefined && { 304: { description: 'It is what If-None-Match names.' } }),
      ...(status === 202 && { 200: success(200, answer) }),
      default: {
        description: `A problem. Codes: ${[...everyProblem, ...problems].join(', ')}.`,
        content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
      },
    },
  }
}

function streamOf(answer: z.ZodType): Json {
  return {
    description: 'Server-sent events: the ID of each is its cursor, its data is JSON.',
    content: {
      'text/event-stream': { schema: { type: 'string' }, 'x-tidegate-data': jsonSchema(answer, 'output') },
    },
  }
}

function rawOf(type: string): Json {
  return {
    description: 'As it is stored; ETag is strong.',
    headers: { ETag: { schema: { type: 'string' } } },
    content: { [type]: { schema: { type: 'string', contentMediaType: type } } },
  }
}

function success(status: number, answer: z.ZodType): Json {
  return {
    description: status === 202 ? 'It is on record and goes on; Location says where to ask for it.' : 'Done.',
    content: { 'application/json': { schema: jsonSchema(answer, 'output') } },
  }
}

function parametersOf(schema: z.ZodObject | undefined, where: 'path' | 'query'): Json[] {
  if (schema === undefined) return []
  const { properties = {}, required = [] } = jsonSchema(schema, 'input') as {
    properties?: Record<string, Json>
    required?: string[]
  }
  return Object.entries(properties).map(([name, { description, ...one }]) => ({
    name,
    in: where,
    required: where === 'path' || required.includes(name),
    ...(description !== undefined && { description }),
    schema: one,
  }))
}

function jsonSchema(schema: z.ZodType, io: 'input' | 'output'): Json {
  const {
    $schema: _,
    '~standard': __,
    $defs = {},
    ...document
  } = z.toJSONSchema(schema, {
    io,
    target: 'draft-2020-12',
    unrepresentable: 'any',
    // The format says it in a word, the pattern in three lines.
    override: ({ jsonSchema }) => {
      if (jsonSchema.format === 'date-time') delete jsonSchema.pattern
    },
  }) as Record<string, unknown>
  const strange = Object.keys($defs as object).find((name) => name !== recursive)
  if (strange !== undefined) throw new Error(`the document has no place for the schema ${strange}`)
  const text = JSON.stringify(document)
  return JSON.parse(text.replaceAll(`"#/$defs/${recursive}"`, '"#/components/schemas/JsonValue"')) as Json
}
