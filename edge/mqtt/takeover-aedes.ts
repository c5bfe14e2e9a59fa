import type { Aedes, Client } from 'aedes'

/**
 * One connection per client ID [MQTT-3.1.4-2]. aedes closes the one it knows, but knows the wrong one when several
 * connect at a time, or while an older one is still closing: whichever ends, it forgets the present one. That would stay
 * beside the next, and a stop would not close it.
 */
export function keepOnePerClientId(aedes: Aedes): void {
  const { clients } = aedes as WithClients
  const present = new Map<string, Client>()

  function restore(clientId: string): void {
    const client = present.get(clientId)
    if (client) clients[clientId] = client
    else delete clients[clientId]
  }

  aedes.on('client', (client) => {
    // This connection ended while it waited for another to close.
    if (client.closed) return restore(client.id)
    const before = present.get(client.id)
    present.set(client.id, client)
    before?.close()
  })
  aedes.on('clientDisconnect', (client) => {
    if (present.get(client.id) === client) present.delete(client.id)
    restore(client.id)
  })
}

/** Missing in aedes' types: those that it would close. */
type WithClients = Aedes & { clients: Record<string, Client> }
