import type { z } from 'zod'
import type { Clock } from '../../../src/clock.ts'
import type { Deeds } from '../../deeds/deeds.ts'
import type { Events } from '../reads/events-postgres.ts'
import type { Reads } from '../reads/reads.ts'

import type { Refusal } from '../rules/problem.ts'
import type { Caller, Right } from '../rules/roles.ts'
import type { Mint } from '../tokens/mint.ts'
import type { SchemaDesk } from '../../schemas/apply/desk.ts'
import type { Tokens } from '../tokens/tokens.ts'
import type { Workplace } from './workplace.ts'

/** What routes are given; absent: this cloud cannot do it. */
export interface Parts {
  reads: Reads
  deeds?: Deeds | undefined
  workplace?: Workplace | undefined
  /** The same, of which nothing stays: for dry runs. */
  trial?: { deeds: Deeds; workplace: Workplace } | undefined
  /** History, in order. */
  events?: Events | undefined
  schemas?: SchemaDesk | undefined
  tokens: Tokens
  mint?: Mint | undefined
  clock: Pick<Clock, 'now'>
}

/** A request, read and judged. */
export interface Asked<P, Q, B> {
  params: P
  query: Q
  body: B
  caller: Caller
  /** Idempotency-Key: a UUID; empty where nothing is written. */
  key: string
  /** What If-Match says, without its quotes. */
  ifMatch: string | undefined
  /** Whether whoever asks has this version already (If-None-Match, RFC 9110 13.1.2). */
  ifNoneMatch: (version: string) => boolean
  /** What Last-Event-ID says, of a stream that was cut off. */
  lastEventId: string | undefined
}

export interface Answer {
  body: unknown
  /** Of a route that streams: goes out as it comes, and nothing of it is left out. */
  stream?: ReadableStream<Uint8Array>
  /** Of a route that answers with bytes as they are. */
  bytes?: Uint8Array
  /** Instead of the route's own; 304: nothing else goes out. */
  status?: number
  /** Version of what is answered with: goes out as ETag. */
  version?: string
  /** Where to ask how far it is. */
  location?: string
}

interface Definition<P extends z.ZodObject, Q extends z.ZodObject, B extends z.ZodType> {
  method: 'get' | 'post' | 'patch'
  /** `/v1/things/{thing}` */
  path: string
  tag: string
  summary: string
  /** What the caller must have; undefined: be somebody. */
  right: Right | undefined
  params?: P
  query?: Q
  body?: B
  /** Of success. */
  status?: number
  answer: z.ZodType
  /** If-Match is required: what is changed must be what was seen. */
  conditional?: boolean
  /** Answers with server-sent events, each of which is as `answer` says. */
  streams?: boolean
  /** Answers with bytes of this media type, whose version is their strong ETag. */
  raw?: string
  /** A question that is too long for an address: POST, and nothing is written. */
  asks?: boolean
  /** Of the body; default 256 KiB. */
  bodyBytesMax?: number
  /** By the socket of the machine's owner alone. */
  localOnly?: boolean
  /** Codes of problems, besides those of every route. */
  problems?: readonly string[]
  handle: (asked: Asked<z.output<P>, z.output<Q>, z.output<B>>, parts: Parts) => Promise<Answer> | Answer
}

/** A route as data: whoever serves, documents or tests the API reads it from here. */
export interface Route extends Omit<Definition<z.ZodObject, z.ZodObject, z.ZodType>, 'handle'> {
  status: number
  writes: boolean
  /** There is no such route: this is answered to whoever may ask at all. */
  refusal?: Refusal
  handle: (asked: Asked<never, never, never>, parts: Parts) => Promise<Answer> | Answer
}

export function route<
  P extends z.ZodObject = z.ZodObject,
  Q extends z.ZodObject = z.ZodObject,
  B extends z.ZodType = z.ZodUndefined,
>(definition: Definition<P, Q, B>): Route {
  const { status = 200, method, asks = false } = definition
  // What it is given was made by its own schemas.
  return { ...definition, status, writes: method !== 'get' && !asks }
}
