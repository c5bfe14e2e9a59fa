/** What the deliveries of a queue that are in our hands may take together; one that is larger by itself is taken alone (G7). */
export const bytesInHandMax = 4 * 1024 * 1024

/**
 * What one message may take. What is larger is set aside as it came, unread: to read it would take several times as much (G7). A
 * batch is at most half of it (`batchLimits`), an event of a gateway less (`events.payloadBytesMax`).
 */
export const messageBytesMax = 16 * 1024 * 1024

/** What a delivery in our hands takes beside its text, as far as that is worth knowing (G7). */
export const overheadBytes = 512
