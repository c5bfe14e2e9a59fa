/** MQTT 3.1.1, 2.2.1: those that a client sends. */
export const packetType = {
  connect: 1,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  subscribe: 8,
  unsubscribe: 10,
  pingreq: 12,
  disconnect: 14,
} as const

export const typeNames: readonly (string | undefined)[] = Object.entries(packetType).reduce<string[]>(
  (list, [name, type]) => {
    list[type] = name.toUpperCase()
    return list
  },
  [],
)

/** SUBSCRIBE or UNSUBSCRIBE. */
export function isRequest(type: number): boolean {
  return type === packetType.subscribe || type === packetType.unsubscribe
}
