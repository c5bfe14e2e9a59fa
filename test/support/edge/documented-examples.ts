import { readFileSync } from 'node:fs'
import type { Event } from '../../../src/contract/event.ts'

export interface DocumentedMessage {
  'x-tidegate-type'?: string
  summary?: string
  examples?: { payload: unknown; headers?: Record<string, unknown> }[]
}

interface Channel {
  address: string
  parameters?: Record<string, { examples?: string[] }>
  messages: Record<string, unknown>
  'x-tidegate-routes'?: { type?: string; devices?: string[] }[]
}

interface Document {
  channels: Record<string, Channel>
  components: { messages: Record<string, DocumentedMessage> }
}

/** What a device is said to publish, and what is to come of it. */
export interface DocumentedPublish {
  message: string
  device: string
  topic: string
  payload: Record<string, unknown>
  type: string
}

const root = new URL('../../../', import.meta.url)
const document = JSON.parse(readFileSync(new URL('docs/asyncapi.json', root), 'utf8')) as Document
export const documentedMessages = document.components.messages

/** Every example of every message of every channel of docs/asyncapi.json that takes events from devices. */
export const documentedPublishes: DocumentedPublish[] = Object.values(document.channels).flatMap(
  ({ address, parameters = {}, messages, 'x-tidegate-routes': routes = [] }) => {
    const topic = address.replaceAll(
      /\{(\w+)\}/g,
      (_, name: string) => parameters[name]?.examples?.[0] ?? name,
    )
    return Object.keys(messages).flatMap((message) => {
      const { 'x-tidegate-type': type = '', examples = [] } = documentedMessages[message] ?? {}
      const route = routes.find((one) => one.type === type)
      if (!route) return []
      const device = parameters['device']?.examples?.[0] ?? route.devices?.[0] ?? 'sensor-1'
      return examples.map(({ payload }) => ({
        message,
        device,
        topic,
        payload: payload as Record<string, unknown>,
        type,
      }))
    })
  },
)

/** The events that it shows on RabbitMQ, alone or in a batch: each once if both are alike, in the order of the ledger. */
export const documentedEvents: Event[] = [
  ...new Map(
    Object.values(documentedMessages)
      .flatMap(({ examples = [] }) => examples.flatMap(({ payload }) => payload))
      .filter(isEvent)
      .map((event) => [JSON.stringify(event), event]),
  ).values(),
].toSorted((one, other) => one.sequence - other.sequence)

export function isEvent(payload: unknown): payload is Event {
  return typeof payload === 'object' && payload !== null && 'chain' in payload
}

/** The blocks of JSON of docs/WIRE.md. */
export const wireBlocks: unknown[] = [
  ...readFileSync(new URL('docs/WIRE.md', root), 'utf8').matchAll(/^```json\n([^]*?)^```$/gm),
].map(([, text = '']) => JSON.parse(text) as unknown)
