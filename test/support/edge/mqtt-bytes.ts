/** MQTT 3.1.1 packets made by hand, also such as no client would send. */

/** The length of a body, in groups of seven bits (2.2.3). */
function digits(length: number): number[] {
  const list: number[] = []
  for (let rest = length; list.length === 0 || rest > 0; rest = Math.floor(rest / 128))
    list.push((rest % 128) | (rest >= 128 ? 0x80 : 0))
  return list
}

/** `first`: the type and the flags. */
export function packet(first: number, ...body: (Buffer | string | number[])[]): Buffer {
  const bytes = Buffer.concat(body.map((part) => Buffer.from(part as string)))
  return Buffer.concat([Buffer.from([first, ...digits(bytes.length)]), bytes])
}

export const u16 = (number: number): Buffer => Buffer.from([number >> 8, number & 0xff])

/** A field of text, or of bytes that are none. */
export function text(content: string | Buffer): Buffer {
  const bytes = Buffer.from(content)
  return Buffer.concat([u16(bytes.length), bytes])
}

export interface ConnectFields {
  name?: string
  level?: number
  flags?: number
  keepAliveSeconds?: number
  clientId?: string | Buffer
  /** What follows the client ID. */
  rest?: Buffer[]
}

export function connect(fields: ConnectFields = {}): Buffer {
  const { name = 'MQTT', level = 4, flags = 2, keepAliveSeconds = 60, clientId = 'c', rest = [] } = fields
  return packet(0x10, text(name), [level, flags], u16(keepAliveSeconds), text(clientId), ...rest)
}

export function publish(
  topic: string | Buffer,
  payload: string | Buffer = '',
  qos: 0 | 1 | 2 = 0,
  packetId = 1,
  flags = 0,
): Buffer {
  const id = qos > 0 ? [u16(packetId)] : []
  return packet(0x30 | (qos << 1) | flags, text(topic), ...id, payload)
}

export function subscribe(packetId: number, ...filters: [filter: string | Buffer, qos: number][]): Buffer {
  return packet(
    0x82,
    u16(packetId),
    ...filters.map(([filter, qos]) => Buffer.concat([text(filter), Buffer.from([qos])])),
  )
}

export function unsubscribe(packetId: number, ...filters: (string | Buffer)[]): Buffer {
  return packet(0xa2, u16(packetId), ...filters.map(text))
}

export const ack = (first: number, packetId: number): Buffer => packet(first, u16(packetId))
export const pingreq = packet(0xc0)
export const disconnect = packet(0xe0)

/** In chunks that end at these places, each counted from the beginning and around. */
export function split(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length]
  return places.slice(1).map((end, index) => bytes.subarray(places[index], end))
}
