import { randomUUID } from 'node:crypto'
import { type IncomingMessage, request as requestInClear, type RequestOptions } from 'node:http'
import { request as requestByTls } from 'node:https'
import { codeOf, messageOf, TidegateError } from '../../src/errors.ts'
import type { Problem } from '../api/rules/problem.ts'
import type { Target } from './target.ts'

export interface Answered<T> {
  body: T
  /** As in ETag, with its quotes. */
  etag: string | undefined
}

export interface Writing {
  /** Idempotency-Key; default: one of its own. */
  key?: string | undefined
  etag?: string | undefined
}

/** The API, asked by a program. Throws what the API says: TidegateError with its code, or `API_UNREACHABLE`. */
export interface Client {
  get<T>(path: string, query?: Readonly<Record<string, string | number | undefined>>): Promise<Answered<T>>
  post<T>(path: string, body: object, writing?: Writing): Promise<Answered<T>>
  patch<T>(path: string, body: object, writing?: Writing): Promise<Answered<T>>
}

/** The API has said no. */
export class RefusedByApi extends TidegateError {
  readonly status: number
  constructor({ code, detail, hint, faults = [], status }: Problem) {
    const lines = faults.map(({ path, text }) => `\n  ${path}: ${text}`).join('')
    super(code, { message: `${detail}${lines}`, hint, retryable: false })
    this.status = status
  }
}

const timeoutMs = 35_000
const answerBytesMax = 64 * 1024 * 1024
/** A write whose answer was lost is asked for again under its key: it is done once. */
const attemptsMax = 3

export function createClient(target: Target): Client {
  async function ask<T>(
    method: string,
    path: string,
    { body, key, etag }: Writing & { body?: object } = {},
  ): Promise<Answered<T>> {
    const text = body && JSON.stringify(body)
    const headers = {
      ...target.headers,
      ...(text !== undefined && { 'content-type': 'application/json' }),
      ...(method !== 'GET' && { 'idempotency-key': key ?? randomUUID() }),
      ...(etag !== undefined && { 'if-match': etag }),
    }
    for (let attempt = 1; ; attempt++) {
      try {
        return await once<T>(target, { method, path, headers }, text)
      } catch (error) {
        if (error instanceof RefusedByApi || attempt === attemptsMax) throw error
        if (codeOf(error) !== 'ECONNRESET') throw unreachable(target, error)
      }
    }
  }
  return {
    get: (path, query = {}) => {
      const given = Object.entries(query).filter(([, value]) => value !== undefined)
      const search = new URLSearchParams(
        given.map(([name, value]): [string, string] => [name, String(value)]),
      ).toString()
      return ask('GET', search === '' ? path : `${path}?${search}`)
    },
    post: (path, body, writing) => ask('POST', path, { body, ...writing }),
    patch: (path, body, writing) => ask('PATCH', path, { body, ...writing }),
  }
}

async function once<T>(
  target: Target,
  about: RequestOptions,
  text: string | undefined,
): Promise<Answered<T>> {
  const response = await new Promise<IncomingMessage>((done, fail) => {
    const asked = requestTo(target, about, done)
    asked.once('error', fail)
    asked.setTimeout(timeoutMs, () => asked.destroy(new Error('no answer came in time')))
    asked.end(text)
  })
  const parts: Buffer[] = []
  let bytes = 0
  for await (const part of response as AsyncIterable<Buffer>) {
    bytes += part.length
    if (bytes > answerBytesMax) throw new Error('the answer is larger than any that the API gives')
    parts.push(part)
  }
  const body = JSON.parse(Buffer.concat(parts).toString()) as unknown
  if (response.statusCode === undefined || response.statusCode >= 400) throw new RefusedByApi(body as Problem)
  return { body: body as T, etag: response.headers.etag }
}

function requestTo(target: Target, about: RequestOptions, done: (response: IncomingMessage) => void) {
  if (target.kind === 'socket')
    return requestInClear({ ...about, socketPath: target.path, host: 'localhost' }, done)
  const { url, ca } = target
  const path = new URL(url).pathname.replace(/\/$/, '') + String(about.path)
  return url.startsWith('https:')
    ? requestByTls(url, { ...about, path, ...(ca && { ca }) }, done)
    : requestInClear(url, { ...about, path }, done)
}

function unreachable(target: Target, cause: unknown): TidegateError {
  const where = target.kind === 'socket' ? target.path : target.url
  const hints: Readonly<Record<string, string>> = {
    EACCES: 'the socket is for the user of the cloud: sudo -u that user',
    ENOENT: 'is the cloud running, and is this its api.socket?',
    ECONNREFUSED: 'is the cloud running, and does it listen there (api.port, api.socket)?',
  }
  return new TidegateError('API_UNREACHABLE', {
    message: `the API at ${where} does not answer: ${messageOf(cause)}`,
    retryable: true,
    hint: hints[codeOf(cause)] ?? 'see --api and --ca, and whether the cloud runs',
    cause,
  })
}
