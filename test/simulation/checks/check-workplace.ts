import { eventKey } from '../../../src/contract/event.ts'
import { lookedAfter } from '../parts/operator.ts'
import type { World } from './world-view.ts'

/** Letters and replays, once everybody has mended and replayed what there was (G4, G5). */
export function checkWorkplace(world: World): void {
  if (!world.plan.settings.workplace) return
  checkLetters(world)
  checkFormer(world)
  checkReplays(world)
}

function effectsOf({ effects }: World['database']): Map<string, number> {
  const times = new Map<string, number>()
  for (const { key } of effects) times.set(key, (times.get(key) ?? 0) + 1)
  return times
}

function keyOf(body: Buffer): string {
  return eventKey(JSON.parse(body.toString()) as { source: string; id: string })
}

/** A letter is resolved with its effect, and with nothing else; nobody's hands are full for ever. */
function checkLetters({ database, journal }: World): void {
  const times = effectsOf(database)
  for (const [number, { state }] of database.standings) {
    const letter = database.letters.get(number)
    if (letter?.group !== lookedAfter) continue
    const name = `letter ${number} of ${letter.id ?? ''}`
    const effects = times.get(keyOf(letter.body)) ?? 0
    if (state === 'replaying') journal.violate('live', `${name} is replaying for ever`)
    if (state === 'resolved' && effects === 0) journal.violate('G5', `${name} is resolved without its effect`)
    // What somebody else published in an event's name takes nothing from that event.
    if (state !== 'resolved' && effects > 0 && letter.code !== 'PROVENANCE')
      journal.violate('G4', `${name} is ${state}, and its event had its effect`)
  }
}

/** What a former version wrote is a letter, once, and could be done. */
function checkFormer({ database, operator, journal }: World): void {
  const times = effectsOf(database)
  for (const text of operator.former) {
    const { id } = JSON.parse(text) as { id: string }
    const letters = [...database.letters.values()].filter(({ body }) => body.toString() === text)
    if (letters.length !== 1) journal.violate('G5', `${id} of a former version is ${letters.length} letters`)
    const effects = times.get(keyOf(Buffer.from(text))) ?? 0
    if (effects !== 1) journal.violate('G4', `${id} of a former version had its effect ${effects} times`)
  }
}

function checkReplays({ database, journal }: World): void {
  for (const record of database.replays.values()) {
    const { replay, sent } = record
    const counted = database.replayCounts.filter((count) => count.replay === replay)
    const later = counted.reduce((sum, { resolved, failed }) => sum + resolved + failed, 0)
    const settled = record.resolved + record.failed + record.returned + later
    if (sent !== settled) journal.violate('G5', `replay ${replay} sent ${sent}, and ${settled} are settled`)
  }
}
