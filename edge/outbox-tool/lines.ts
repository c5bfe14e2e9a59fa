import type { Exported } from '../outbox/look/export.ts'

/** Written and sent at a time: one event by one, a hundred thousand took more than a minute. */
const batchLengthMin = 1 << 16

/** One event a line, in pieces that are worth a write each; whatever is damaged makes its own line, or none. */
export async function* inPieces(
  exported: AsyncIterable<Exported>,
  lineOf: (one: Exported) => string | undefined,
): AsyncIterable<string> {
  let piece = ''
  for await (const one of exported) {
    const line = lineOf(one)
    if (line === undefined) continue
    piece += `${line}\n`
    if (piece.length < batchLengthMin) continue
    yield piece
    piece = ''
  }
  if (piece !== '') yield piece
}
