import type { Json } from './json.ts'

/** What a part of the topology adds to the document. */
export interface Parts {
  channels: Record<string, Channel>
  operations: Record<string, Json>
  messages: Record<string, Json>
}

export interface Channel extends Json {
  address: string
  messages: Readonly<Record<string, Json>>
}

export function noParts(): Parts {
  return { channels: {}, operations: {}, messages: {} }
}

/** Of these keys the first that nobody has. */
export function freeKey(taken: object, wanted: string): string {
  for (let count = 1; ; count += 1) {
    const key = count === 1 ? wanted : `${wanted}.${count}`
    if (!Object.hasOwn(taken, key)) return key
  }
}

/** A channel's messages, by the components that they are. */
export function messagesOf(keys: readonly string[]): Record<string, Json> {
  return Object.fromEntries(keys.map((key) => [key, { $ref: `#/components/messages/${pointed(key)}` }]))
}

/** An operation on messages of a channel. */
export function operationOn(
  channel: string,
  messages: readonly string[],
  action: 'send' | 'receive',
  more: Json,
): Json {
  const at = `#/channels/${pointed(channel)}`
  return {
    action,
    channel: { $ref: at },
    messages: messages.map((key) => ({ $ref: `${at}/messages/${pointed(key)}` })),
    ...more,
  }
}

function pointed(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1')
}
