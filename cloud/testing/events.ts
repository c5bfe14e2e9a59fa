import { encodeEvent, genesis } from '../../src/contract/codec.ts'
import type { Event } from '../../src/contract/envelope.ts'
import { partitionOf, routingKey, wire } from '../../src/contract/wire.ts'
import { TidegateError } from '../../src/errors.ts'
import { schemaName, type SchemaRegistry } from '../../src/schemas/registry.ts'
import type { Posted } from './broker.ts'
import type { GivenEvent } from './given.ts'

export const partitions = 4

/** A gateway that numbers and chains what a test gives it. */
export class TestGateway {
  readonly #schemas: SchemaRegistry
  readonly #now: () => number
  readonly #epoch = '01JGFJJZ00TESTTESTTESTTEST'
  #sequence = 0
  #chain = genesis('gateway-1', this.#epoch)

  constructor(schemas: SchemaRegistry, now: () => number) {
    this.#schemas = schemas
    this.#now = now
  }

  /** @throws TidegateError `SCHEMA_VIOLATION` | `SCHEMA_UNKNOWN`: the edge would let no such event in */
  next(type: string, given: GivenEvent, wanted: number | undefined): Event {
    const version = given.version ?? wanted ?? this.#schemas.latest(type)
    if (version !== undefined) refuseInvalid(this.#schemas, type, version, given.data)
    const sequence = ++this.#sequence
    const now = new Date(this.#now()).toISOString()
    const device = given.device ?? 'device-1'
    const open: Omit<Event, 'chain'> = {
      specversion: '1.0',
      id: given.id ?? `event-${sequence}`,
      source: `/devices/${device}`,
      type,
      ...(given.subject !== undefined && { subject: given.subject }),
      time: given.time ?? now,
      recordedtime: now,
      datacontenttype: 'application/json',
      ...(version !== undefined && { dataschema: schemaName(type, version) }),
      partitionkey: device,
      gateway: 'gateway-1',
      epoch: this.#epoch,
      sequence,
      data: given.data ?? {},
    }
    const { chain } = encodeEvent(open, this.#chain)
    this.#chain = chain
    return { ...open, chain }
  }
}

/** As the edge would publish it. */
export function posted(event: Event, redelivered = false): Posted {
  const partition = partitionOf(event.partitionkey, partitions)
  return {
    text: JSON.stringify(event),
    partition,
    exchange: wire.exchange,
    routingKey: routingKey(partition, event.type),
    properties: { messageId: event.id, type: event.type, contentType: 'application/json' },
    redelivered,
  }
}

function refuseInvalid(schemas: SchemaRegistry, type: string, version: number, data: unknown): void {
  if (!schemas.types.includes(type)) return
  const faults = schemas.faults(type, version, data ?? {})
  if (faults.length === 0) return
  throw new TidegateError('SCHEMA_VIOLATION', {
    message: `the event given breaks ${schemaName(type, version)}: ${faults.join('; ')}`,
    retryable: false,
    hint: 'the edge would quarantine it, and no consumer would be handed it: correct the event that the test gives',
  })
}
