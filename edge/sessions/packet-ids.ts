interface Ids {
  last: number
  inUse: Set<number>
}

export const packetIdMax = 65_535

/** Packet IDs of what is sent on one connection: none is given out while it stands for another message [MQTT-2.3.1-2, -4]. */
export class PacketIds {
  readonly #random: () => number
  readonly #of = new WeakMap<object, Ids>()

  constructor(random: () => number) {
    this.#random = random
  }

  /** Those stand for what an earlier connection of the session was sent. */
  take(connection: object, inUse: Iterable<number>): void {
    const ids = this.#idsOf(connection)
    for (const id of inUse) ids.inUse.add(id)
  }

  /** Undefined: all are in use. */
  next(connection: object): number | undefined {
    const ids = this.#idsOf(connection)
    if (ids.inUse.size >= packetIdMax) return undefined
    do ids.last = (ids.last % packetIdMax) + 1
    while (ids.inUse.has(ids.last))
    ids.inUse.add(ids.last)
    return ids.last
  }

  /** Its message is acknowledged, or is not sent. */
  free(connection: object, id: number): void {
    this.#of.get(connection)?.inUse.delete(id)
  }

  #idsOf(connection: object): Ids {
    const ids = this.#of.get(connection) ?? {
      last: Math.floor(this.#random() * packetIdMax),
      inUse: new Set(),
    }
    this.#of.set(connection, ids)
    return ids
  }
}
