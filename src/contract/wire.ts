/** Names on the AMQP side of the wire contract (docs/WIRE.md). Both sides derive them here only. */
export const wire = {
  exchange: 'tidegate.events',
  unroutable: 'tidegate.unroutable',
  /** Fanout: who is not to be let in, told to all gateways. */
  lists: 'tidegate.lists',
  contentType: 'application/cloudevents+json',
  batchContentType: 'application/cloudevents-batch+json',
  /** Of a batch that is compressed: zlib (RFC 1950), as HTTP has it. */
  deflate: 'deflate',
} as const

/** Where the lists wait for one gateway: the newest of them alone. */
export function listsQueue(gateway: string): string {
  return `${wire.lists}.${gateway}`
}

/** What a gateway says of a batch in its headers, for whoever has only those of it: how many events, and of which sequences. */
export const batchHeaders = {
  events: 'tidegate-batch-events',
  first: 'tidegate-batch-first',
  last: 'tidegate-batch-last',
} as const

/** Our own headers: attempts and the failure story travel with a delivery, never in RabbitMQ's `x-death`. */
export const headers = {
  attempt: 'tidegate-attempt',
  group: 'tidegate-group',
  originalExchange: 'tidegate-original-exchange',
  originalRoutingKey: 'tidegate-original-routing-key',
  originalQueue: 'tidegate-original-queue',
  originalUser: 'tidegate-original-user',
  originalProperties: 'tidegate-original-properties',
  errorCode: 'tidegate-error-code',
  errorMessage: 'tidegate-error-message',
  errorStack: 'tidegate-error-stack',
  firstFailedAt: 'tidegate-first-failed-at',
  lastFailedAt: 'tidegate-last-failed-at',
  failures: 'tidegate-failures',
  instance: 'tidegate-instance',
  /** The number of the dead letter that this is a copy of. */
  mirroredLetter: 'tidegate-mirrored-letter',
  probe: 'tidegate-probe',
  /** The number of a dead letter; with `replay` beside it, believed of the default exchange alone, it comes back. */
  letter: 'tidegate-letter',
  /** By itself, believed of the default exchange alone: an event of history that a replay of this number sends; 0: that a new group begins with. */
  replay: 'tidegate-replay',
  /** Of what a replay sends, believed of the default exchange alone: part of its key in the inbox, so that it has its effect once for each. */
  generation: 'tidegate-generation',
  /** Of a dead letter that comes back, believed of the default exchange alone: nobody has asked yet whether it comes from where it says. */
  unvetted: 'tidegate-unvetted',
  /** Who published what the cloud publishes again, as the broker said then; empty: it did not. */
  publisher: 'tidegate-publisher',
} as const

/** What a generation is called: part of the key of the inbox, and of a header; 1 to 64 letters, digits and `._-`, the first a letter or a digit. */
export const generationPattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

/**
 * The partition of a device: FNV-1a (32 bit) of its ID modulo `partitions`. Computed by the publisher, because
 * consistent-hash exchanges do not promise the same queue after a restart.
 */
export function partitionOf(deviceId: string, partitions: number): number {
  let hash = 0x811c9dc5
  for (const byte of Buffer.from(deviceId, 'utf8')) {
    hash ^= byte
    hash = Math.imul(hash, 0x01000193) >>> 0
  }
  return hash % partitions
}

/** Two digits, so that names sort. */
export function partitionName(partition: number): string {
  return String(partition).padStart(2, '0')
}

/** `<partition>.<type>` */
export function routingKey(partition: number, type: string): string {
  return `${partitionName(partition)}.${type}`
}

/**
 * Which settings the partition queues have. The settings of a queue cannot be changed, so that other ones are queues
 * of another name, beside the former ones, which are drained (cloud/queues/upgrade.ts). Counted up with every change
 * of the arguments that `groupTopology` gives partition queues; 2 refuses beyond a limit instead of dropping (G3).
 */
export const queueGeneration = 2

/** `<group>.<partition>.v<generation>` */
export function partitionQueue(group: string, partition: number): string {
  return queueOf(group, partition, queueGeneration)
}

/** The names that the queue of a partition has had before, oldest first. */
export function formerPartitionQueues(group: string, partition: number): string[] {
  return Array.from({ length: queueGeneration - 1 }, (_, index) => queueOf(group, partition, index + 1))
}

/** The first generation had no number in its name. */
function queueOf(group: string, partition: number, generation: number): string {
  const name = `${group}.${partitionName(partition)}`
  return generation === 1 ? name : `${name}.v${generation}`
}

/** `<group>.retry.<delay>`: both the rung's fanout exchange and its queue. */
export function rungName(group: string, delayMs: number): string {
  return `${group}.retry.${delayName(delayMs)}`
}

/** Where other tools see a group's newest dead letters, which are rows of PostgreSQL; counted up as the partition queues are. */
export function mirrorQueue(group: string): string {
  return `${group}.dead.v2`
}

/** Where former versions put a group's dead letters. */
export function formerDeadQueue(group: string): string {
  return `${group}.dead`
}

function delayName(delayMs: number): string {
  if (delayMs % 60_000 === 0) return `${delayMs / 60_000}m`
  if (delayMs % 1000 === 0) return `${delayMs / 1000}s`
  return `${delayMs}ms`
}

/** Whether a dotted name matches a pattern, as a topic exchange would say. */
export function matchesTopic(pattern: string, name: string): boolean {
  return matchesLabels(pattern.split('.'), name.split('.'))
}

function matchesLabels([first, ...rest]: readonly string[], labels: readonly string[]): boolean {
  if (first === undefined) return labels.length === 0
  if (first === '#') {
    return labels.some((_, index) => matchesLabels(rest, labels.slice(index))) || matchesLabels(rest, [])
  }
  return labels.length > 0 && (first === '*' || first === labels[0]) && matchesLabels(rest, labels.slice(1))
}
