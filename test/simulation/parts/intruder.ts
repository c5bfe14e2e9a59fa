import { encodeEvent, genesis } from '../../../src/contract/codec.ts'
import { headers as names, partitionOf, routingKey, wire } from '../../../src/contract/wire.ts'
import { gatewayName, type Settings } from '../plan/settings.ts'
import type { SimulatedBroker } from './broker.ts'
import type { Gateway } from './gateway.ts'
import type { Journal } from './journal.ts'

export interface IntruderParts {
  broker: SimulatedBroker
  gateway: Gateway
  journal: Journal
  settings: Settings
}

/** The user, and the gateway that it is. */
export const intruderName = 'intruder'
const type = 'com.acme.climate'
const ownEpoch = '01JGFJJZ06TESTTESTTESTTEST'

/**
 * A gateway that may publish to the exchange of all, and speaks in the name of another and its devices, or in its own name of a device
 * that is connected elsewhere.
 */
export class Intruder {
  /** The text of every event that it has published, and whether every queue took it. */
  readonly published = new Map<string, boolean>()
  private readonly parts: IntruderParts

  constructor(parts: IntruderParts) {
    this.parts = parts
  }

  /** For a device of the gateway: in the place that this will give out next, or in one of the intruder's own. */
  forge(how: number): void {
    const { broker, gateway, journal, settings } = this.parts
    const stats = gateway.outbox?.stats()
    if (!broker.up || broker.blocked || stats === undefined) return
    const isOwn = how === 3
    const as = isOwn ? intruderName : gatewayName
    const epoch = isOwn ? ownEpoch : stats.epoch
    const sequence = isOwn ? this.published.size + 1 : stats.lastSequence + 1
    const device = settings.devices[0] ?? ''
    const time = new Date(0).toISOString()
    const event = {
      specversion: '1.0' as const,
      id: `forged-${this.published.size}`,
      source: `/devices/${device}`,
      type,
      time,
      recordedtime: time,
      datacontenttype: 'application/json' as const,
      partitionkey: device,
      gateway: as,
      epoch,
      sequence,
      data: { temperature: 99 },
    }
    const { text } = encodeEvent(event, genesis(as, epoch))
    journal.count('forgery')
    journal.tell(intruderName, `publishes ${event.id} as ${as}`)
    const answer = broker.publish({
      body: Buffer.from(text),
      exchange: wire.exchange,
      routingKey: routingKey(partitionOf(device, settings.partitions), type),
      properties: { contentType: wire.contentType, ...(how !== 1 && { userId: intruderName }) },
      headers: how === 2 ? { [names.publisher]: gatewayName, [names.originalUser]: gatewayName } : {},
    })
    this.published.set(text, answer === 'routed')
  }
}
