import { TidegateError } from '../../../src/errors.ts'

/**
 * What a packet can do that ends its connection [MQTT-4.8.0-1], with the statement of MQTT 3.1.1 that forbids it (empty:
 * our own bound). The names are values of a metric's label, and stable.
 */
export const violations = {
  length: '2.2.3',
  'too-large': '',
  type: '2.2.1',
  flags: 'MQTT-2.2.2-2',
  qos: 'MQTT-3.3.1-4',
  truncated: 'MQTT-4.8.0-1',
  trailing: 'MQTT-4.8.0-1',
  utf8: 'MQTT-1.5.3-1',
  nul: 'MQTT-1.5.3-2',
  'packet-id': 'MQTT-2.3.1-1',
  'first-packet': 'MQTT-3.1.0-1',
  'second-connect': 'MQTT-3.1.0-2',
  'protocol-name': 'MQTT-3.1.2-1',
  'connect-flags': 'MQTT-3.1.2-3',
  will: 'MQTT-3.1.2-11',
  'will-qos': 'MQTT-3.1.2-14',
  password: 'MQTT-3.1.2-22',
  topic: 'MQTT-3.3.2-2',
  'empty-topic': 'MQTT-4.7.3-1',
  filter: 'MQTT-4.7.1-2, MQTT-4.7.1-3',
  'no-filter': 'MQTT-3.8.3-3, MQTT-3.10.3-2',
  'filter-qos': 'MQTT-3.8.3-4',
  'filters-max': '',
  'text-message': 'MQTT-6.0.0-1',
} as const

export type Violation = keyof typeof violations

export const violationNames = Object.keys(violations) as Violation[]

/** A packet that ends its connection; `violation` says by which of its faults. */
export class PacketError extends TidegateError {
  declare readonly code: 'PACKET_TOO_LARGE' | 'PACKET_MALFORMED'
  readonly violation: Violation

  constructor(violation: Violation, detail: string) {
    const statement = violations[violation]
    super(violation === 'too-large' ? 'PACKET_TOO_LARGE' : 'PACKET_MALFORMED', {
      message: statement === '' ? detail : `${detail} [${statement}]`,
      retryable: false,
      hint: hintOf(violation),
    })
    this.violation = violation
  }
}

function hintOf(violation: Violation): string {
  if (violation === 'too-large') return 'send smaller messages, or raise mqtt.packetBytesMax'
  if (violation === 'filters-max') return 'send several packets with fewer filters each'
  return 'correct what sends it: a client library seldom does so, a packet made by hand does'
}
