import type { Exported, ExportFilter } from '../outbox/look/export.ts'

/** An export's filter as the query of a URL, and back. */
export function writeFilter(filter: ExportFilter): URLSearchParams {
  const query = new URLSearchParams()
  for (const [key, value] of Object.entries(filter)) {
    if (value !== undefined) query.set(key, String(value as string | number))
  }
  return query
}

export function readFilter(query: URLSearchParams): ExportFilter {
  const number = (key: string): number | undefined => {
    const value = query.get(key)
    return value === null ? undefined : Number(value)
  }
  const lane = query.get('lane')
  return {
    deviceId: query.get('deviceId') ?? undefined,
    type: query.get('type') ?? undefined,
    lane: lane === 'high' || lane === 'normal' ? lane : undefined,
    fromSequence: number('fromSequence'),
    toSequence: number('toSequence'),
  }
}

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
