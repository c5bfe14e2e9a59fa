/** What the deliveries of a queue that are in our hands may take together; one that is larger by itself is taken alone (G7). */
export const bytesInHandMax = 4 * 1024 * 1024

/** What a delivery in our hands takes beside its text, as far as that is worth knowing (G7). */
export const overheadBytes = 512
