/**
 * An event on the wire: CloudEvents 1.0, structured JSON, with Tidegate's ledger place (docs/WIRE.md).
 * `(source, id)` identifies it, everywhere, for ever.
 */
export interface Event {
  specversion: '1.0'
  id: string
  source: string
  type: string
  subject?: string
  /** RFC 3339; the device's clock, else the gateway's at receipt; never restamped. */
  time: string
  /** RFC 3339; the gateway's clock at admission. */
  recordedtime: string
  timestatus?: TimeStatus
  datacontenttype: 'application/json'
  /** `<type>/<version>`: the schema version it was checked against at the edge; absent when unchecked. */
  dataschema?: string
  partitionkey: string
  gateway: string
  /** ULID made with the outbox: a new outbox is a new ledger. */
  epoch: string
  /** Place in the ledger, contiguous from 1 within (gateway, epoch) (G2). */
  sequence: number
  traceparent?: string
  /** RFC 3339; worthless after this. */
  expirytime?: string
  /** How its device was known to the gateway, if not by a certificate. */
  authmethod?: Exclude<AuthMethod, 'certificate'>
  /** What the device wrote its payload in, if not in JSON. */
  payloadformat?: PayloadFormat
  /** Of that payload as it came: SHA-256, hexadecimal. */
  payloadsha256?: string
  /** Bytes of it that its schema does not know, and that are not in `data`; absent: none. */
  payloadskipped?: number
  data: unknown
  /** A person has corrected `data` for its replay (docs/CONSUMERS.md). Never on record: the text in history is as it was. */
  edited?: Edited
  /** base64url(SHA-256(previous chain ‖ this event's JSON up to here)); see codec.ts. */
  chain: string
}

/** Who has corrected an event's data, when (RFC 3339), and how (RFC 6902, on `data`). */
export interface Edited {
  by: string
  at: string
  patch: readonly unknown[]
}

/** By what a device has shown its gateway who it is. */
export type AuthMethod = 'certificate' | 'password'

/**
 * Why `time` is not to be relied on; readers then prefer `recordedtime`. `implausible`: it is the device's, whose clock
 * was far from the gateway's. `unreadable`: the device gave one that cannot be read, and `time` is the gateway's at receipt.
 */
export type TimeStatus = 'implausible' | 'unreadable'

/** What a device may write its payload in, besides JSON; the event's data is JSON all the same. */
export type PayloadFormat = 'avro' | 'protobuf' | 'cbor' | 'messagepack'
