import type { PacketLike } from 'aedes-persistence-level/asyncPersistence.js'
import { decode } from 'msgpack-lite'
import type { SessionDatabase, SessionRecords } from './database-level.ts'
import type { SessionQuota } from './quota.ts'

/**
 * Takes out the records of the session database that aedes could not read, and says how many: it reads them while a
 * device connects or subscribes, and one that it cannot decode would turn that device away each time.
 * @throws whatever LevelDB throws for a table that it cannot read
 */
export async function removeUnreadable(database: SessionRecords): Promise<number> {
  const unreadable: string[] = []
  for await (const [key, value] of database.iterator()) {
    if (!isReadable(key, value)) unreadable.push(key)
  }
  await database.batch(unreadable.map((key) => ({ type: 'del', key })))
  return unreadable.length
}

function isReadable(key: string, value: Buffer): boolean {
  try {
    const record: unknown = decode(value)
    if (typeof record !== 'object' || record === null) return false
    const { topic, payload } = record as { topic?: unknown; payload?: unknown }
    if (!isAbsent(payload) && typeof payload !== 'string' && !Buffer.isBuffer(payload)) return false
    if (typeof topic === 'string') return key.startsWith('retained:') || clientIdOf(key) !== ''
    return (
      isAbsent(topic) && /^(?:outgoing|outgoing-id|incoming|session):/.test(key) && clientIdOf(key) !== ''
    )
  } catch {
    return false
  }
}

function isAbsent(value: unknown): boolean {
  return value === undefined || value === null
}

/** Counts what is kept for sessions. A kill between two writes leaves a packet ID of no message, which is removed. */
export async function loadQueued(database: SessionDatabase, quota: SessionQuota): Promise<void> {
  const sent = new Set<string>()
  for await (const [key, value] of database.entries({ gte: 'outgoing:', lt: 'outgoing;' })) {
    const clientId = clientIdOf(key)
    const packet = decode(value) as PacketLike
    quota.queued(clientId, packet)
    if (packet.messageId) sent.add(sentKey(clientId, packet.messageId))
  }
  const ofNone: string[] = []
  for await (const key of database.keys({ gte: 'outgoing-id:', lt: 'outgoing-id;' }))
    if (!sent.has(key)) ofNone.push(key)
  await database.batch(ofNone.map((key) => ({ type: 'del', key })))
}

/** Takes out all that is kept for a session. */
export async function removeQueued(
  database: SessionDatabase,
  quota: SessionQuota,
  clientId: string,
): Promise<void> {
  const gone: string[] = []
  for await (const key of database.keys(sentKeysOf(clientId))) gone.push(key)
  for await (const [key, value] of database.entries(queuedKeysOf(clientId))) {
    quota.unqueued(clientId, decode(value) as PacketLike)
    gone.push(key)
  }
  await database.batch(gone.map((key) => ({ type: 'del', key })))
}

/** What was sent to a session under a packet ID. */
export async function sentPacket(
  database: SessionDatabase,
  clientId: string,
  messageId: number | undefined,
): Promise<PacketLike | undefined> {
  const record = await database.get(sentKey(clientId, messageId))
  return record && (decode(record) as PacketLike)
}

/** Of the package's keys: `<kind>:<client ID>:…`, each part escaped. */
export function clientIdOf(key: string): string {
  return decodeURIComponent(key.split(':')[1] as string)
}

/** Where the package keeps what was sent to a session under a packet ID and is not yet acknowledged. */
export function sentKey(clientId: string, messageId: number | undefined): string {
  return keyByPacketId('outgoing-id', clientId, messageId)
}

/** All of a session. */
export function sentKeysOf(clientId: string): { gte: string; lt: string } {
  return keysOf('outgoing-id', clientId)
}

/** Where what is kept for a session lies, sent or not. */
export function queuedKeysOf(clientId: string): { gte: string; lt: string } {
  return keysOf('outgoing', clientId)
}

/** Where one message lies there. */
export function queuedKey(clientId: string, brokerId = '', brokerCounter = 0): string {
  return `outgoing:${encodeURIComponent(clientId)}:${brokerId}:${String(brokerCounter).padStart(16, '0')}`
}

function keysOf(kind: string, clientId: string): { gte: string; lt: string } {
  const prefix = `${kind}:${encodeURIComponent(clientId)}`
  return { gte: `${prefix}:`, lt: `${prefix};` }
}

/** The packet ID that is the last part of a key. */
export function packetIdOf(key: string): number {
  return Number(key.split(':')[2])
}

/** That a session is kept. */
export function sessionKey(clientId: string): string {
  return `session:${encodeURIComponent(clientId)}:`
}

/** What a kept session has subscribed to; the filter as it is. */
export function subscriptionKey(clientId: string, filter: string): string {
  return `subscriptions:${encodeURIComponent(clientId)}:${filter}`
}

/** The key of what says that a QoS 2 message was taken from a session and is not yet released. */
export function takenKey(clientId: string, messageId: number): string {
  return keyByPacketId('incoming', clientId, messageId)
}

function keyByPacketId(kind: string, clientId: string, messageId: number | undefined): string {
  return `${kind}:${encodeURIComponent(clientId)}:${String(messageId).padStart(16, '0')}`
}
