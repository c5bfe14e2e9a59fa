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

/** G4: a projection has applied every event of history, once, in the order in which it is read. */
export function checkProjection({ projection, database, journal }: World): void {
  const wanted = database.order.places()
  const { applied } = projection
  if (applied.length !== wanted.length)
    journal.violate('G4', `a projection has applied ${applied.length} events of ${wanted.length}`)
  const at = wanted.findIndex((place, index) => applied[index] !== place)
  if (at >= 0)
    journal.violate(
      'G4',
      `a projection has applied ${nameOf(applied[at] ?? 'nothing')} for ${nameOf(wanted[at] ?? '')}`,
    )
}

const nameOf = (place: string): string => place.replaceAll('\n', '/')
