import type { Outcome } from './execution.ts'
import { type LawName, laws } from './options.ts'
import type { Sample } from './sample.ts'

/** A case that shows that a law is broken. */
export interface Broken {
  law: LawName
  samples: readonly Sample[]
  once: Outcome
  here: Outcome
}

const rowsMax = 10

/** What is broken, by which events, and how one sees it. */
export function brokenText(
  group: string,
  { law, samples, once, here }: Broken,
  { seed, failing }: { seed: number; failing: readonly string[] },
): string {
  const events = samples.map(
    ({ type, version, device, time, data }) =>
      `    ${time} ${device} ${type}${version === undefined ? '' : `/${version}`} ${JSON.stringify(data)}`,
  )
  return [
    `consumer ${group} breaks the law "${law}": ${laws[law]}`,
    `  by ${events.length === 1 ? 'this event' : `these ${events.length} events`}:`,
    ...events,
    ...(law === 'limits' ? failing.map((text) => `  failed with ${text}`) : differences({ once, here })),
    `  seed ${seed}`,
  ].join('\n')
}

function differences({ once, here }: Pick<Broken, 'once' | 'here'>): string[] {
  const tables = Object.keys(once.tables).filter(
    (name) => JSON.stringify(once.tables[name]) !== JSON.stringify(here.tables[name]),
  )
  return [
    ...tables.flatMap((name) => [
      `  ${name}, each event once and undisturbed:`,
      ...rowsOf(once.tables[name] ?? []),
      `  ${name}, here:`,
      ...rowsOf(here.tables[name] ?? []),
    ]),
    ...both('dead letters', JSON.stringify(once.letters), JSON.stringify(here.letters)),
    ...both('waiting', JSON.stringify(once.waiting), JSON.stringify(here.waiting)),
    ...both('outside', once.outside, here.outside),
  ]
}

function rowsOf(rows: readonly string[]): string[] {
  const more = rows.length > rowsMax ? [`    and ${rows.length - rowsMax} more`] : []
  return rows.length === 0 ? ['    no row'] : [...rows.slice(0, rowsMax).map((row) => `    ${row}`), ...more]
}

function both(what: string, once: string, here: string): string[] {
  return once === here
    ? []
    : [`  ${what}, each event once and undisturbed: ${once}`, `  ${what}, here: ${here}`]
}
