import { Hono } from 'hono'
import { z } from 'zod'
import type { Clock } from '../../src/clock.ts'
import { codeOf, messageOf } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import { createThrottledWarn, type ThrottledWarn } from '../../src/throttle.ts'
import type { ApiObserver } from './observer.ts'
import { createRates } from './rates.ts'
import { readRequest } from './requests.ts'
import type { Parts, Route } from './routes/route.ts'
import { createGate, type Gate } from './rules/gate.ts'
import { shownBy } from './rules/payload.ts'
import { problemOf, Refusal, refusalOf } from './rules/problem.ts'
import { type Caller, hasRight } from './rules/roles.ts'

/** From where a request comes. */
export interface Origin {
  /** Whom failed attempts are put down to: an address, empty by the socket. */
  address: string
  /** The Host field, as far as it matters here. */
  isCalledSo: (host: string | undefined) => boolean
}

export interface AppOptions {
  routes: readonly Route[]
  parts: Parts
  /** Who asks. @throws Refusal */
  authenticate: (headers: Headers) => Promise<Caller> | Caller
  originOf: (bindings: unknown) => Origin
  /** Requests of one subject in a second. */
  requestsPerSecond: number
  observer: ApiObserver
  clock: Clock
  log: Logger
}

/** Attempts to get in that failed, of one address, in a second: to check a signature costs more than to send one. A proxy is one address. */
const failuresPerSecond = 20
const logIntervalMs = 60_000
/** Of one subject at a time; who asks for more at once waits, so that nobody has all connections to the database. */
const underWayOfOne = { underWayMax: 2, waitingMax: 16, full: () => tooOften(1) }

/** For the browser that is brought here by somebody else: nothing of it is to be shown, framed, guessed at or kept. */
const secureHeaders = {
  'cache-control': 'no-store',
  'content-security-policy': `default-src 'none'; frame-ancestors 'none'`,
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
} as const

/** The API over routes: who asks, may that one, is the request well made, then the route, then nothing that is not for the caller. */
export function createApp(options: AppOptions): Hono {
  const app = new Hono()
  const serve = serving(options)
  for (const route of options.routes) {
    const path = route.path.replaceAll(/\{(\w+)\}/g, ':$1')
    app.on(route.method.toUpperCase(), path, (context) =>
      serve(route, context.req.raw, { params: context.req.param(), bindings: context.env }),
    )
  }
  for (const [path, methods] of methodsByPath(options.routes))
    app.all(path, (context) => serve(notAllowed(methods), context.req.raw, { bindings: context.env }))
  app.notFound((context) => serve(noSuchPath, context.req.raw, { bindings: context.env }))
  return app
}

interface Around {
  params?: Readonly<Record<string, string>>
  bindings: unknown
}

type Serve = (route: Route, request: Request, around: Around) => Promise<Response>

function serving(options: AppOptions): Serve {
  const { observer, clock, log } = options
  const warn = createThrottledWarn(log, clock, logIntervalMs)
  const admit = admitting(options, warn)
  const gate = createGate(underWayOfOne)
  return async (route, request, around) => {
    const fromMs = clock.monotonicMs()
    const response = await answerTo(route, request, { ...around, admit, gate, options }).catch(
      (error: unknown) => {
        const refusal = refusalOf(error)
        const code = codeOf(error)
        if (refusal.status >= 500 && refusal !== error)
          warn(code, `the API could not serve ${nameOf(route)}: ${messageOf(error)}`, { code })
        return problemResponse(refusal)
      },
    )
    observer.answered(nameOf(route), response.status, clock.monotonicMs() - fromMs)
    return response
  }
}

type Admit = (route: Route, headers: Headers, origin: Origin) => Promise<Caller>

/** Who asks, if that one may ask for this, and not too often. @throws Refusal */
function admitting(options: AppOptions, warn: ThrottledWarn): Admit {
  const { observer, clock } = options
  const rates = createRates(options.requestsPerSecond, clock)
  const failures = createRates(failuresPerSecond, clock)

  const refusedAs = (reason: 'host' | 'rate' | 'right', refusal: Refusal): Refusal => {
    observer.refused(reason)
    return refusal
  }

  async function callerOf(headers: Headers, { address }: Origin): Promise<Caller> {
    const waitS = failures.look(address)
    if (waitS > 0) throw refusedAs('rate', tooOften(waitS))
    try {
      return await options.authenticate(headers)
    } catch (error) {
      // Whatever it failed for: "not now" is an answer that costs as much.
      if (error instanceof Refusal) failures.take(address)
      throw error
    }
  }

  return async (route, headers, origin) => {
    if (!origin.isCalledSo(headers.get('host') ?? undefined)) throw refusedAs('host', wrongHost())
    const caller = await callerOf(headers, origin)
    const waitS = caller.local ? 0 : rates.take(caller.actor)
    if (waitS > 0) throw refusedAs('rate', tooOften(waitS))
    const may = route.right === undefined || hasRight(caller, route.right)
    if (may && (!route.localOnly || caller.local)) return caller
    warn(nameOf(route), 'the API has refused somebody who may not', { actor: caller.actor })
    throw refusedAs('right', notForYou(route))
  }
}

async function answerTo(
  route: Route,
  request: Request,
  { params = {}, bindings, admit, gate, options }: Around & { admit: Admit; gate: Gate; options: AppOptions },
): Promise<Response> {
  const { parts, log } = options
  const caller = await admit(route, request.headers, options.originOf(bindings))
  if (route.refusal) throw route.refusal
  const read = await readRequest(route, request, params)
  // What HEAD opens nobody would take.
  if (route.streams && request.method === 'HEAD') return eventStream(null)
  const {
    body,
    status = route.status,
    version,
    location,
    stream,
    bytes,
  } = await gate.pass(caller.actor, async () => route.handle({ ...read, caller } as never, parts))
  if (stream !== undefined) return eventStream(stream)
  if (route.raw !== undefined) return rawAnswer(route.raw, { bytes, status, version })
  const shown = shownBy(route.answer, body, hasRight(caller, 'payload'))
  if (route.writes)
    log.info({ route: nameOf(route), actor: caller.actor, key: read.key }, 'the API has done something')
  return Response.json(shown, {
    status,
    headers: {
      ...secureHeaders,
      ...(version !== undefined && { etag: `"${version}"` }),
      ...(location !== undefined && { location }),
    },
  })
}

function eventStream(stream: ReadableStream<Uint8Array> | null): Response {
  return new Response(stream, { headers: { ...secureHeaders, 'content-type': 'text/event-stream' } })
}

/** Whoever keeps it asks each time whether it is the newest still. */
function rawAnswer(
  type: string,
  {
    bytes,
    status,
    version = '',
  }: { bytes: Uint8Array | undefined; status: number; version: string | undefined },
): Response {
  const headers = { ...secureHeaders, 'cache-control': 'private, no-cache', etag: `"${version}"` }
  if (status === 304 || bytes === undefined) return new Response(null, { status: 304, headers })
  return new Response(Buffer.from(bytes), { status, headers: { ...headers, 'content-type': type } })
}

function nameOf({ method, path }: Route): string {
  return path === '' ? 'none' : `${method.toUpperCase()} ${path}`
}

function problemResponse(refusal: Refusal): Response {
  return new Response(JSON.stringify(problemOf(refusal)), {
    status: refusal.status,
    headers: { ...secureHeaders, ...refusal.headers, 'content-type': 'application/problem+json' },
  })
}

function methodsByPath(routes: readonly Route[]): Map<string, string[]> {
  const methods = new Map<string, string[]>()
  for (const { path, method } of routes) {
    const pattern = path.replaceAll(/\{(\w+)\}/g, ':$1')
    methods.set(pattern, [...(methods.get(pattern) ?? []), method.toUpperCase()])
  }
  return methods
}

/** Whoever is nobody is told that first, and not what there is. */
const noSuchPath = refusing(
  new Refusal({
    code: 'PATH_UNKNOWN',
    status: 404,
    message: 'there is nothing at this address',
    hint: 'GET /v1/openapi.json lists what there is',
  }),
)

function notAllowed(methods: readonly string[]): Route {
  return refusing(
    new Refusal({
      code: 'METHOD_UNKNOWN',
      status: 405,
      message: `this address takes ${methods.join(', ')}`,
      hint: 'GET /v1/openapi.json lists what there is',
      headers: { allow: methods.join(', ') },
    }),
  )
}

/** Where there is no route. */
function refusing(refusal: Refusal): Route {
  const nothing = { method: 'get', path: '', tag: '', summary: '', right: undefined, status: 404 } as const
  return { ...nothing, writes: false, answer: z.unknown(), handle: () => ({ body: null }), refusal }
}

function wrongHost(): Refusal {
  return new Refusal({
    code: 'HOST_UNKNOWN',
    status: 421,
    message: 'this API is not called by that name',
    hint: 'api.hosts lists the names that are taken, besides api.host, localhost and addresses',
  })
}

function tooOften(waitS: number): Refusal {
  return new Refusal({
    code: 'TOO_MANY_REQUESTS',
    status: 429,
    message: 'this was asked for too often',
    hint: 'wait as long as Retry-After says; api.requestsPerSecond is the bound of one subject',
    retryable: true,
    headers: { 'retry-after': String(Math.ceil(waitS)) },
  })
}

function notForYou({ right, localOnly }: Route): Refusal {
  return new Refusal({
    code: 'RIGHT_MISSING',
    status: 403,
    message: localOnly
      ? 'this is for who owns the machine of the cloud, by its socket'
      : `this needs the right "${right}"`,
    hint: localOnly
      ? 'run tidegate on that machine, as the user of the cloud, with its --config'
      : 'docs/API.md says which roles have it; GET /v1/me says which rights you have',
  })
}
