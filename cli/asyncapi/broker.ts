import { exchangeTopology, groupTopology, type QueueArguments } from '../../cloud/amqp/topology.ts'
import { entrySchema } from '../../cloud/history/ledger-entry.ts'
import type { EdgeConfig } from '../../edge/config.ts'
import { checkpointSchema, checkpointType } from '../../src/contract/checkpoint.ts'
import { schemasType, schemasUsedSchema, type SchemasUsed } from '../../src/contract/schemas-used.ts'
import { type Event, type LedgerEntry, ledgerType, rejectedType } from '../../src/contract/event.ts'
import { listsQueueArguments, signedListsSchema } from '../../src/contract/published-lists.ts'
import { listsQueue, partitionName, partitionQueue, wire } from '../../src/contract/wire.ts'
import { eventOf, plainSchemaOf, rejectionSchema, type TypedEvent } from './envelope.ts'
import type { Examples } from './examples.ts'
import {
  batchHeadersSchema,
  letterHeadersSchema,
  republishedBatchHeadersSchema,
  republishedHeadersSchema,
} from './headers.ts'
import { type Json, present } from './json.ts'
import { type Channel, messagesOf, noParts, operationOn, type Parts } from './parts.ts'
import { pointerTo, type Schemas, standardFormat, type Version } from './schemas.ts'

export type Uplink = Pick<EdgeConfig['uplink'], 'exchange' | 'partitions' | 'batch'>

/** What gateways publish to RabbitMQ, and what the cloud makes there: AMQP 0.9.1. */
export function brokerParts(
  schemas: Schemas,
  { uplink, isOpen }: { uplink: Uplink; isOpen: boolean },
  examples: Examples,
): Parts {
  const parts = new BrokerParts(uplink)
  for (const type of schemas.registry.types) {
    const versions = schemas.versions.filter((version) => version.type === type)
    parts.addType(type, versions, examples)
  }
  if (isOpen) parts.addUnchecked()
  parts.addOwnTypes(examples)
  parts.addQueues()
  return parts.made
}

class BrokerParts {
  readonly made = noParts()
  readonly #uplink: Uplink

  constructor(uplink: Uplink) {
    this.#uplink = uplink
  }

  /** All versions of a type have one routing key; `dataschema` says which one it is. */
  addType(type: string, versions: readonly Version[], examples: Examples): void {
    const recorded: Event[] = []
    const keys = versions.map((version) => {
      const events = examples.recordedOf(version)
      recorded.push(...events)
      const data = version.schemaFormat === standardFormat ? { $ref: pointerTo(version) } : {}
      return this.#event(version.key, version.title, eventOf(type, data, version.name), events.slice(0, 1))
    })
    this.#addEvents(type, [...keys, ...this.#batchOf(type, keys, recorded)], versions.at(-1)?.title ?? type)
  }

  /** Types that have no schema. */
  addUnchecked(): void {
    this.#addEvents('{type}', this.#anyEvent(), 'Any other type: it has no schema, and nothing is checked')
  }

  /** What the gateway itself says. */
  addOwnTypes(examples: Examples): void {
    const rejected = examples.rejected()
    const lost: LedgerEntry = {
      kind: 'undelivered',
      epoch: examples.epoch,
      ranges: [{ from: 1, to: 1, reason: 'expired' }],
    }
    const used: SchemasUsed = { source: 'folder', digest: 'a'.repeat(64), types: 1, versions: 2 }
    const own: [string, string, Json, Event | undefined][] = [
      [rejectedType, 'A reading that broke a rule', rejectionSchema, rejected],
      [
        ledgerType,
        'What will not arrive, and why',
        plainSchemaOf(entrySchema),
        examples.ownEvent(ledgerType, lost),
      ],
      [checkpointType, 'The gateway’s signature of its chain', plainSchemaOf(checkpointSchema), undefined],
      [
        schemasType,
        'Which schemas the gateway judges by from here on',
        plainSchemaOf(schemasUsedSchema),
        examples.ownEvent(schemasType, used),
      ],
    ]
    for (const [type, title, schema, example] of own) {
      const key = this.#event(type, title, eventOf(type, schema), example ? [example] : [])
      this.#addEvents(type, [key, ...this.#batchOf(type, [key], [])], title)
    }
  }

  addQueues(): void {
    const group = '{group}'
    const delayMs = 1000
    const options = { group, types: ['#'], ordered: false, ladderMs: [delayMs], partitions: 1, mirror: true }
    const [partition, rung, mirror] = groupTopology(options).queues
    const [ordered] = groupTopology({ ...options, ordered: true }).queues
    const [unroutable] = exchangeTopology().queues
    const { exchange } = this.#uplink
    const event = this.#anyEvent()
    const letter = this.#letter()
    this.#queue('group-partition', {
      address: partitionQueue(group, 0).replace(partitionName(0), '{partition}'),
      title: 'What waits for a consumer group, of one partition',
      description:
        'Bound to the exchange with <partition>.<type pattern>; one consumer at a time for ordered groups, whose queues have the arguments `x-tidegate-arguments-ordered`. A consumer that is none of Tidegate’s binds a queue of its own in the same way. Delivery is at least once: (source, id) tells what is known.',
      arguments: partition?.arguments,
      orderedArguments: ordered?.arguments,
      messages: [...event, letter],
    })
    this.#queue('group-rung', {
      address: (rung?.name ?? '').replace(/[^.]+$/, '{delay}'),
      title: 'Letters that wait before they are tried again',
      description: 'By its TTL a letter goes back to the queue that is its routing key.',
      arguments: { ...rung?.arguments, 'x-message-ttl': 'the delay' },
      messages: [letter],
    })
    this.#queue('group-dead', {
      address: mirror?.name ?? '',
      title: 'Copies of a group’s newest dead letters',
      description:
        'For other tools: the letters themselves are rows of PostgreSQL. At its bounds the oldest go.',
      arguments: mirror?.arguments,
      messages: [letter],
    })
    this.#queue('unroutable', {
      address: unroutable?.name ?? '',
      title: 'What no group wanted',
      description:
        exchange === wire.exchange
          ? `The alternate exchange of ${wire.exchange}. Published again after a cloud has started, with \`tidegate-publisher\`.`
          : `The alternate exchange of ${wire.exchange}. This gateway publishes to ${exchange}: what no queue takes there comes here if that has it for its alternate exchange as well, or hands on to ${wire.exchange}; else it stays with the gateway.`,
      arguments: unroutable?.arguments,
      messages: event,
    })
    this.#queue('lists', {
      address: listsQueue('{gateway}'),
      title: 'Who is not to be let in: the newest lists for one gateway',
      description: `Bound to the fanout exchange ${wire.lists}. Signed by a root CA.`,
      arguments: listsQueueArguments,
      messages: [
        this.#message('lists', {
          title: 'Revocation lists and who is denied, signed',
          contentType: 'application/json',
          payload: { schemaFormat: standardFormat, schema: plainSchemaOf(signedListsSchema) },
        }),
      ],
    })
  }

  #addEvents(type: string, messages: readonly string[], description: string): void {
    const isNamed = type !== '{type}'
    const key = isNamed ? `amqp.${type}` : 'amqp.type'
    const { exchange } = this.#uplink
    this.#channel(key, {
      address: `{partition}.${type}`,
      title: isNamed ? type : 'Events of types that have no schema',
      description,
      parameters: {
        partition: { $ref: '#/components/parameters/partition' },
        ...(!isNamed && { type: { $ref: '#/components/parameters/type' } }),
      },
      messages: messagesOf(messages),
      bindings: {
        amqp: {
          is: 'routingKey',
          exchange: { name: exchange, type: 'topic', durable: true, autoDelete: false },
          bindingVersion: '0.3.0',
        },
      },
    })
    this.#send(
      key,
      `Publish events of type ${type}`,
      'Persistent and mandatory; an event leaves the gateway’s outbox only after RabbitMQ has confirmed that a queue holds it. `message_id` is the event’s `id` (of a batch there is none), `app_id` its gateway, `type` its type, and `user_id` the user that the gateway connects as.',
    )
  }

  #queue(key: string, queue: QueueChannel): void {
    const { address, title, description, messages } = queue
    const names = [...address.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name)
    const references = names.map((name) => [name, { $ref: `#/components/parameters/${name}` }])
    const own = { name: address, durable: true, exclusive: false, autoDelete: false }
    this.#channel(`amqp.${key}`, {
      address,
      ...present({
        title,
        description,
        'x-tidegate-arguments': queue.arguments,
        'x-tidegate-arguments-ordered': queue.orderedArguments,
      }),
      ...(names.length > 0 && { parameters: Object.fromEntries(references) as Json }),
      messages: messagesOf(messages),
      bindings: { amqp: { is: 'queue', queue: own, bindingVersion: '0.3.0' } },
    })
    this.#send(`amqp.${key}`, title)
  }

  #channel(key: string, { address, ...more }: Channel): void {
    this.made.channels[key] = { address, servers: [{ $ref: '#/servers/rabbitmq' }], ...more }
  }

  #send(key: string, summary: string, description?: string): void {
    const amqp = { deliveryMode: 2, mandatory: true, timestamp: true, bindingVersion: '0.3.0' }
    const more = { ...present({ summary, description }), ...(description && { bindings: { amqp } }) }
    const channel = this.made.channels[key] as Channel
    this.made.operations[`send.${key}`] = operationOn(key, Object.keys(channel.messages), 'send', more)
  }

  #event(key: string, title: string, { type, schema }: TypedEvent, examples: readonly Event[]): string {
    return this.#message(key, {
      title,
      contentType: wire.contentType,
      payload: { schemaFormat: standardFormat, schema },
      bindings: { amqp: { messageType: type, bindingVersion: '0.3.0' } },
      ...(examples.length > 0 && {
        examples: examples.map((payload) => ({
          name: 'event',
          summary: 'as the gateway records it',
          payload,
        })),
      }),
    })
  }

  /** An array of the events’ texts, verbatim; none where the gateway makes no batches. */
  #batchOf(type: string, events: readonly string[], recorded: readonly Event[]): string[] {
    const { eventsMax, compress } = this.#uplink.batch
    if (eventsMax === 1) return []
    const anyOf = events.map((event) => ({ $ref: `#/components/messages/${event}/payload/schema` }))
    const header = { 'tidegate-batch-events': recorded.length, ...placesOf(recorded) }
    const encoding = compress && { contentEncoding: wire.deflate }
    const batch = this.#message(`${type}.batch`, {
      title: `Events of type ${type}, put together`,
      contentType: wire.batchContentType,
      headers: batchHeadersSchema,
      payload: { schemaFormat: standardFormat, schema: { type: 'array', minItems: 1, items: { anyOf } } },
      bindings: { amqp: { messageType: type, ...encoding, bindingVersion: '0.3.0' } },
      ...(recorded.length > 1 && { examples: [{ name: 'batch', headers: header, payload: recorded }] }),
    })
    return [batch]
  }

  /** Of any type, and of any gateway: also what the cloud publishes again. */
  #anyEvent(): string[] {
    const payload = { $ref: '#/components/schemas/Event' }
    const headers = republishedHeadersSchema
    const event = this.#message('event', {
      title: 'An event',
      contentType: wire.contentType,
      headers,
      payload,
    })
    const schema = { type: 'array', minItems: 1, items: { $ref: '#/components/schemas/Event/schema' } }
    const batch = this.#message('batch', {
      title: 'Events, put together',
      contentType: wire.batchContentType,
      headers: republishedBatchHeadersSchema,
      payload: { schemaFormat: standardFormat, schema },
    })
    return [event, batch]
  }

  #letter(): string {
    return this.#message('letter', {
      title: 'An event with the story of its failures',
      summary: 'body and properties as they came; the story is in the headers',
      headers: letterHeadersSchema,
      payload: {},
    })
  }

  #message(key: string, message: Json): string {
    this.made.messages[key] ??= { name: key, ...message }
    return key
  }
}

interface QueueChannel {
  address: string
  title: string
  description: string
  arguments?: QueueArguments | undefined
  orderedArguments?: QueueArguments | undefined
  messages: readonly string[]
}

function placesOf(recorded: readonly Event[]): Json {
  return {
    'tidegate-batch-first': recorded[0]?.sequence,
    'tidegate-batch-last': recorded.at(-1)?.sequence,
  }
}
