import { quoted } from '../../src/settings/shell.ts'
import { grouped } from '../format.ts'
import type { Looked } from './search.ts'
import type { Identity } from '../watch/history.ts'
import type { Located, Where } from './whereabouts.ts'

/** What is known of a run whose books do not balance, and where it lies. docs/REPORT.md documents each field. */
export interface Evidence {
  /** Outbox, servers' data and logs, as the run left them. */
  folder: string
  /** In that folder: the report, and where each missing event is. */
  file: string
  missing: number
  /** How many of them were looked for; the first ones. */
  searched: number
  places: { where: Where; place: string; events: number }[]
  looked: Looked[]
  blind: string[]
  /** Places of the run's ledgers that the gateway accounts for as not delivered. Their events' IDs are nowhere on record. */
  accounted: number
  /** Commands and files. */
  toLook: string[]
}

const placesShown = 12
/** Of the missing events, how many are named on a screen. */
const namedMax = 5

/** What happened, where it lies and what to do, in plain lines. */
export function renderEvidence(
  evidence: Evidence,
  missingEvents: readonly (Identity & Partial<Located>)[],
): string {
  return [
    ...missingLines(evidence),
    ...missingEvents
      .slice(0, namedMax)
      .map(({ source, id, words }) => `  ${source} ${id}${words === undefined ? '' : `: ${words}`}`),
    ...(evidence.missing > namedMax
      ? [`  and ${grouped(evidence.missing - namedMax)} more: all of them are in ${evidence.file}`]
      : []),
    ...heldLines(evidence),
    ...evidence.blind.slice(0, placesShown).map((why) => `  not seen: ${why}`),
    `Nothing was deleted: outbox, servers' data and logs lie in ${evidence.folder}, and ${evidence.file} names each event.`,
    'What to do: look before anything is started in that folder again:',
    ...evidence.toLook.map((line) => `  ${line}`),
    `and to start afresh: rm -r ${quoted(evidence.folder)}`,
  ].join('\n')
}

function missingLines({ missing, searched, places, accounted }: Evidence): string[] {
  if (missing === 0) return ['Every acknowledged event that has an ID of its own is in the history.']
  const looked =
    searched < missing ? `; the first ${grouped(searched)} of them were looked for` : ', and was looked for:'
  const subject = missing === 1 ? '1 acknowledged event is' : `${grouped(missing)} acknowledged events are`
  const shown = places.slice(0, placesShown)
  return [
    `${subject} missing from the history${missing === 1 || searched < missing ? looked : ', and were looked for:'}`,
    ...shown.map(({ events, place }) => `  ${grouped(events).padStart(6)}  ${place}`),
    ...(places.length > shown.length ? [`          and ${places.length - shown.length} places more`] : []),
    ...(accounted > 0 && places.some(({ where }) => where === 'nowhere')
      ? [
          `  ${grouped(accounted)} places of the ledger are accounted for as not delivered (expired, evicted, lost): what is nowhere may be among them`,
        ]
      : []),
  ]
}

function heldLines({ looked }: Evidence): string[] {
  const held = looked.filter(({ holds }) => holds > 0)
  if (held.length === 0) return []
  const all = held.slice(0, placesShown).map(({ place, holds }) => `${place} ${grouped(holds)}`)
  const more = held.length > all.length ? `, and ${held.length - all.length} places more` : ''
  return [`Still held: ${all.join(', ')}${more}.`]
}
