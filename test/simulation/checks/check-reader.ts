import type { World } from './world-view.ts'

/** G4: whoever has read history by its cursor has every event of it, once. */
export function checkReader({ reader, database, journal }: World): void {
  const seen = new Set<string>()
  for (const place of reader.seen) {
    if (seen.has(place)) journal.violate('G4', `a reader of history has had ${nameOf(place)} twice`)
    seen.add(place)
  }
  for (const place of database.events.keys())
    if (!seen.has(place)) journal.violate('G4', `a reader of history has skipped ${nameOf(place)}`)
}

const nameOf = (place: string): string => place.replaceAll('\n', '/')
