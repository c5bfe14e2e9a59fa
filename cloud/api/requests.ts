import type { z } from 'zod'
import { Refusal, type RequestFault } from './rules/problem.ts'
import type { Route } from './routes/route.ts'

const bodyBytesMaxDefault = 262_144
/** Whoever looks at a value goes into it: one that is deeper would be an overflow of the stack (G7). */
const bodyDepthMax = 100
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i
const etagLengthMax = 200

/** What of a request a route is given, judged by its schemas. @throws Refusal */
export async function readRequest(route: Route, request: Request, params: Readonly<Record<string, string>>) {
  const read = {
    params: judged(route.params, params, 'params'),
    query: judged(route.query, queryOf(request), 'query'),
    key: route.writes ? keyOf(request) : '',
    lastEventId: route.streams ? (request.headers.get('last-event-id') ?? undefined) : undefined,
    ifNoneMatch: ifNoneMatchOf(request),
    ifMatch: route.conditional ? ifMatchOf(request) : undefined,
  }
  return {
    ...read,
    body:
      route.body &&
      judged(route.body, await bodyOf(request, route.bodyBytesMax ?? bodyBytesMaxDefault), 'body'),
  }
}

function queryOf(request: Request): Record<string, string> {
  const { searchParams } = new URL(request.url)
  const twice = [...searchParams.keys()].filter((key, index, keys) => keys.indexOf(key) !== index)
  if (twice.length > 0)
    throw invalid(
      400,
      twice.map((path) => ({ path, text: 'is there more than once' })),
    )
  return Object.fromEntries(searchParams)
}

function judged(schema: z.ZodType | undefined, value: unknown, where: 'params' | 'query' | 'body'): unknown {
  if (schema === undefined) {
    const names = where === 'query' ? Object.keys(value as object) : []
    if (names.length > 0)
      throw invalid(
        400,
        names.map((path) => ({ path, text: 'is not asked for here' })),
      )
    return {}
  }
  const result = schema.safeParse(value)
  if (result.success) return result.data
  // The value itself is never quoted: it may be a token in a wrong place.
  const faults = result.error.issues.flatMap(({ path, message, ...issue }): RequestFault[] =>
    issue.code === 'unrecognized_keys'
      ? issue.keys.map((key) => ({ path: pathOf([...path, key]), text: 'is not known here' }))
      : [{ path: pathOf(path), text: message }],
  )
  throw invalid(where === 'body' ? 422 : 400, faults)
}

const pathOf = (path: readonly PropertyKey[]): string => path.map(String).join('.').slice(0, 200)

function invalid(status: number, faults: readonly RequestFault[]): Refusal {
  return new Refusal({
    code: 'REQUEST_INVALID',
    status,
    message: `the request has ${faults.length} ${faults.length === 1 ? 'fault' : 'faults'}`,
    hint: 'each fault says where and what; docs/openapi.json has what is taken',
    faults: faults.slice(0, 20),
  })
}

function keyOf(request: Request): string {
  const key = request.headers.get('idempotency-key')
  if (key !== null && uuid.test(key)) return key.toLowerCase()
  throw new Refusal({
    code: 'IDEMPOTENCY_KEY_MISSING',
    status: 400,
    message: key === null ? 'a write needs Idempotency-Key' : 'Idempotency-Key is no UUID',
    hint: 'a new UUID for each thing that you want done, and the same one when you ask for it again: it is done once',
  })
}

function ifMatchOf(request: Request): string {
  const [, version] = /^(?:W\/)?"([^"]+)"$|^(\*)$/.exec(request.headers.get('if-match') ?? '') ?? []
  const given = version ?? (request.headers.get('if-match') === '*' ? '*' : undefined)
  if (given !== undefined && given.length <= etagLengthMax) return given
  throw new Refusal({
    code: 'IF_MATCH_MISSING',
    status: 428,
    message: 'this needs If-Match, with the ETag of what you have seen',
    hint: 'GET it first: its ETag is what to send; "If-Match: *" if you want it whatever it is by now',
  })
}

function ifNoneMatchOf(request: Request): (version: string) => boolean {
  const header = request.headers.get('if-none-match') ?? ''
  const known = header.split(',').map((one) => one.trim().replace(/^W\//, ''))
  return (version) => known.includes('*') || known.includes(`"${version}"`)
}

/** @throws Refusal `BODY_TOO_LARGE`, `BODY_UNREADABLE` */
async function bodyOf(request: Request, bytesMax: number): Promise<unknown> {
  const type = request.headers.get('content-type')?.split(';', 1)[0]?.trim().toLowerCase()
  if (type !== 'application/json') throw unreadable(415, 'the body is not said to be JSON')
  const bytes = await bytesOf(request, bytesMax)
  let text: string
  let body: unknown
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    body = JSON.parse(text)
  } catch {
    // What the parser says quotes it.
    throw unreadable(400, 'the body is no JSON')
  }
  if (depthOf(text) > bodyDepthMax)
    throw unreadable(400, `the body is nested deeper than ${bodyDepthMax} levels`)
  return body
}

/** Of a text that is JSON. */
function depthOf(text: string): number {
  let depth = 0
  let deepest = 0
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[[{\]}]/g)) {
    if (token === '[' || token === '{') deepest = Math.max(deepest, ++depth)
    else if (token === ']' || token === '}') depth--
  }
  return deepest
}

async function bytesOf({ body, headers }: Request, bytesMax: number): Promise<Buffer> {
  const parts: Uint8Array[] = []
  let bytes = Number(headers.get('content-length') ?? 0)
  if (bytes > bytesMax) throw tooLarge(bytesMax)
  bytes = 0
  for await (const part of body ?? []) {
    bytes += part.byteLength
    if (bytes > bytesMax) throw tooLarge(bytesMax)
    parts.push(part)
  }
  return Buffer.concat(parts)
}

function tooLarge(bytesMax: number): Refusal {
  return new Refusal({
    code: 'BODY_TOO_LARGE',
    status: 413,
    message: `the body has more than ${bytesMax} bytes`,
    hint: 'nothing that can be asked for here needs as much',
    // What is left of it is not read.
    headers: { connection: 'close' },
  })
}

function unreadable(status: number, message: string): Refusal {
  return new Refusal({
    code: 'BODY_UNREADABLE',
    status,
    message,
    hint: 'send JSON in UTF-8, with content-type: application/json',
  })
}
