import type { Fields } from './fields.ts'
import { packetType } from './packet-types.ts'
import { PacketError } from './violations.ts'

/** A SUBSCRIBE or an UNSUBSCRIBE: the door’s own business, of which the broker is told nothing. */
export interface SubscriptionRequest {
  kind: 'subscribe' | 'unsubscribe'
  packetId: number
  /** Of an UNSUBSCRIBE without meaning, and 0. */
  filters: { filter: string; qos: 0 | 1 | 2 }[]
}

/** @throws PacketError it is none, or asks for more filters than one packet may */
export function readRequest(type: number, fields: Fields, filtersMax: number): SubscriptionRequest {
  const kind = type === packetType.subscribe ? 'subscribe' : 'unsubscribe'
  const packetId = fields.packetId()
  const filters: SubscriptionRequest['filters'] = []
  while (!fields.isAtEnd) {
    if (filters.length === filtersMax)
      throw new PacketError('filters-max', `a packet with more than ${filtersMax} filters`)
    const filter = fields.text('filter', 'filter')
    const qos = kind === 'subscribe' ? fields.byte('QoS') : 0
    if (qos > 2) throw new PacketError('filter-qos', `SUBSCRIBE asks for QoS ${qos}`)
    filters.push({ filter, qos: qos as 0 | 1 | 2 })
  }
  if (filters.length === 0) throw new PacketError('no-filter', `${kind.toUpperCase()} without a filter`)
  return { kind, packetId, filters }
}
