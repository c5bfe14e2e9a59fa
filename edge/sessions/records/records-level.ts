import type { PacketLike } from 'aedes-persistence-level/asyncPersistence.js'
import { decode } from 'msgpack-lite'
import type { SessionDatabase, SessionRecords } from './database-level.ts'
import { clientIdOf, queuedKeysOf, sentKey, sentKeysOf } from './keys-level.ts'
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
