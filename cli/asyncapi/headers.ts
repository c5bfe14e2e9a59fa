import { batchHeaders, headers } from '../../src/contract/wire.ts'
import type { Json } from './json.ts'

type Header = [type: 'string' | 'integer' | 'boolean', text: string]

const batchTexts: Readonly<Record<keyof typeof batchHeaders, Header>> = {
  events: ['integer', 'how many events are in it'],
  first: ['integer', '`sequence` of the first'],
  last: ['integer', '`sequence` of the last'],
}

/** docs/WIRE.md, "Headers". */
const letterTexts: Readonly<Record<keyof typeof headers, Header>> = {
  attempt: [
    'integer',
    'on a rung the attempt it comes back for; on a dead letter the attempts that were made',
  ],
  group: ['string', 'the consumer group it failed in'],
  originalExchange: ['string', 'tidegate.events, whatever way it took since'],
  originalRoutingKey: ['string', '<partition>.<type>'],
  originalQueue: ['string', 'the partition queue that it was taken from: where it goes back to'],
  originalUser: ['string', 'who published it, by the broker’s word'],
  originalProperties: ['string', 'base64: the first 12 KiB of its properties, where not all were taken over'],
  errorCode: ['string', 'stable code of the last error'],
  errorMessage: ['string', 'its message, at most 1 KiB'],
  errorStack: ['string', 'where a handler threw it, at most 8 KiB'],
  firstFailedAt: ['string', 'RFC 3339'],
  lastFailedAt: ['string', 'RFC 3339'],
  failures: ['string', 'JSON: the last 10 failures as { attempt, at, code, message }'],
  instance: ['string', 'the cloud instance that wrote this'],
  mirroredLetter: ['integer', 'on the copy of a dead letter: its number in tidegate.dead_letters'],
  probe: ['string', 'a line of text: no event; put into a queue that is drained'],
  letter: ['integer', 'a dead letter that comes back; believed of the default exchange alone'],
  replay: ['integer', 'that a replay sent it; believed of the default exchange alone'],
  generation: ['string', 'claimed in the inbox under this name as well'],
  unvetted: ['boolean', 'a dead letter that was never believed to come from where it says'],
  publisher: ['string', 'who had published what the cloud publishes again'],
}

export const batchHeadersSchema = schemaOf(batchHeaders, batchTexts, Object.keys(batchHeaders))

const publisher = { [headers.publisher]: { type: 'string', description: letterTexts.publisher[1] } }

/** Of an event, and of a batch, that the cloud may have published again from what no group wanted. */
export const republishedHeadersSchema: Json = { type: 'object', properties: publisher }
export const republishedBatchHeadersSchema: Json = {
  ...batchHeadersSchema,
  properties: { ...(batchHeadersSchema['properties'] as object), ...publisher },
}

/** Of what the cloud has put aside or sent again. */
export const letterHeadersSchema = schemaOf(headers, letterTexts, [])

function schemaOf<Key extends string>(
  names: Readonly<Record<Key, string>>,
  texts: Readonly<Record<Key, Header>>,
  required: readonly string[],
): Json {
  const entries = (Object.keys(names) as Key[]).map((key) => {
    const [type, description] = texts[key]
    return [names[key], { type, description }] as const
  })
  return {
    type: 'object',
    properties: Object.fromEntries(entries),
    ...(required.length > 0 && { required: required.map((key) => names[key as Key]) }),
  }
}
