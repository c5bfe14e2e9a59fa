import type { ExportFilter } from '../outbox/look/export.ts'

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
