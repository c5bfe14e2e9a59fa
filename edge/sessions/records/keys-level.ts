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
