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

const user = 'intruder'
const type = 'com.acme.climate'

/** A user of the broker that may publish to the exchange of all, and speaks in the name of the gateway and its devices. */
export class Intruder {
  /** The text of every event that it has published, and whether every queue took it. */
  readonly published = new Map<string, boolean>()
  private readonly parts: IntruderParts

  constructor(parts: IntruderParts) {
    this.parts = parts
  }

  /** In the place that the gateway will give out next, for a device of it. */
  forge(how: number): void {
    const { broker, gateway, journal, settings } = this.parts
    const stats = gateway.outbox?.stats()
    if (!broker.up || broker.blocked || stats === undefined) return
    const { epoch, lastSequence } = stats
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
      gateway: gatewayName,
      epoch,
      sequence: lastSequence + 1,
      data: { temperature: 99 },
    }
    const { text } = encodeEvent(event, genesis(gatewayName, epoch))
    journal.count('forgery')
    journal.tell(user, `publishes ${event.id} as ${gatewayName}`)
    const answer = broker.publish({
      body: Buffer.from(text),
      exchange: wire.exchange,
      routingKey: routingKey(partitionOf(device, settings.partitions), type),
      properties: { contentType: wire.contentType, ...(how !== 1 && { userId: user }) },
      headers: how === 2 ? { [names.publisher]: gatewayName, [names.originalUser]: gatewayName } : {},
    })
    this.published.set(text, answer === 'routed')
  }
}
