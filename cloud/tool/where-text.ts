import { visibleLine } from '../../src/visible.ts'
import type { Found, WhereAnswer } from '../api/rules/where-shapes.ts'

type Place = Found['places'][number]
type Line = readonly [when: string, what: string, more: string]

/** What was asked and what it said; and what could not be asked. */
export function whereText(answer: WhereAnswer): string {
  const { id, found, more } = answer
  if (found.length === 0) return notFoundText(answer)
  return [
    ...found.map((one) => foundText(id, one)),
    ...(more ? ['… and more devices that use this ID: --source names one'] : []),
  ].join('\n\n')
}

function foundText(id: string, one: Found): string {
  const { source, places, processed, parked, letters, resolutions, notes } = one
  const [first] = places
  const type = first === undefined ? 'an event' : first.type
  const day = first?.storedAt.slice(0, 10)
  const lines = [
    ...places.flatMap(placeLines),
    ...processed.map(({ group, at }): Line => [at, visibleLine(group), 'processed']),
    ...parked.map(parkedLine),
    ...letters.map(letterLine),
    ...resolutions.map(({ group, letter, outcome, at }): Line => [
      at,
      visibleLine(group),
      `dead letter ${letter} ${outcome}`,
    ]),
    ...notes.map(({ gateway, epoch, sequence, reason, at }): Line => [
      at,
      reason,
      placeText({ gateway, epoch, sequence }),
    ]),
  ].toSorted(([one], [other]) => (one < other ? -1 : Number(one > other)))
  const head = `${visibleLine(type)} ${visibleLine(id)}  of ${visibleLine(source.replace(/^\/devices\//, ''))}`
  return [
    day === undefined ? head : `${head}  ${day}`,
    ...lines.map(lineText),
    ...(places.length === 0
      ? ['  no place in history is shown: something else alone knows of it, or your token is not for history']
      : []),
    '  not known here: when it was sent, and by which attempt',
  ].join('\n')
}

/** `  09:14:02.401  admitted        gateway-1  01M8AY…/2140  + 0.288 s` */
function lineText([when, what, more]: Line): string {
  return `  ${when.slice(11, 23)}  ${what.padEnd(14)}  ${more}`.trimEnd()
}

function placeLines(place: Place): Line[] {
  const { time, admittedAt, storedAt, position, disposition, code, readable, claimed, admission } = place
  const lines: Line[] = [
    [time, 'device’s clock', time.slice(0, 10) === storedAt.slice(0, 10) ? '' : `on ${time.slice(0, 10)}`],
    [admittedAt, claimed ? 'quarantined' : 'admitted', `${placeText(place)}  ${afterText(time, admittedAt)}`],
    [storedAt, 'stored', `position ${position}  ${afterText(admittedAt, storedAt)}`],
    [storedAt, 'history', [disposition, ...(code === null ? [] : [visibleLine(code)])].join(' · ')],
  ]
  for (const { name, version, active, standing } of place.projections)
    lines.push([
      storedAt,
      visibleLine(name),
      `${standing}${active ? '' : `; version ${version}, which is not active`}  (projection)`,
    ])
  if (!readable) lines.push([storedAt, 'readers', 'wait for a transaction that has not ended'])
  if (admission !== null)
    lines.push([admission.at, 'made an event', `cloud ${admission.epoch}/${admission.sequence}`])
  return lines
}

function parkedLine({ group, at, state, first, attempt, nextAt, code }: Found['parked'][number]): Line {
  const goesOn =
    state === 'held' ? 'held until somebody says how it goes on' : `attempt ${attempt} at ${nextAt}`
  const what = first
    ? `waits${code === null ? '' : ` with ${visibleLine(code)}`}`
    : 'waits behind another of its device'
  return [at, visibleLine(group), `${what}: ${goesOn}`]
}

function letterLine(letter: Found['letters'][number]): Line {
  const { group, state, code, attempts, fingerprint, replays, replay, lastFailedAt, letter: number } = letter
  const replayed = replay === null ? '' : `; ${replays} replays, the last in replay ${replay}`
  const text = `dead letter ${number} ${state}, ${attempts} attempts, ${visibleLine(code)}; cause ${fingerprint}${replayed}`
  return [lastFailedAt, visibleLine(group), text]
}

function placeText({ gateway, epoch, sequence }: Pick<Place, 'gateway' | 'epoch' | 'sequence'>): string {
  return `${visibleLine(gateway)}  ${visibleLine(epoch)}/${sequence}`
}

/** `+ 0.288 s`; clocks of two machines may say that it was before. */
function afterText(one: string, other: string): string {
  const seconds = (Date.parse(other) - Date.parse(one)) / 1000
  return `${seconds < 0 ? '-' : '+'} ${Math.abs(seconds).toFixed(3)} s`
}

function notFoundText({ id, gateways, moreGateways }: WhereAnswer): string {
  return [
    `${visibleLine(id)} is not here: not in history, not among the readings that gateways rejected, not in a dead letter or a note`,
    ...gateways.map(gatewayText),
    ...(moreGateways ? [`  … and more gateways than these ${gateways.length}`] : []),
    '  not asked: the gateways themselves, and what is on its way in the broker',
    `  ask the gateway: tidegate outbox find ${/^[\w.:-]+$/.test(id) ? id : 'ID'}`,
  ].join('\n')
}

const gapsShown = 5

function gatewayText(gateway: WhereAnswer['gateways'][number]): string {
  const { gateway: name, epoch, lastSequence, storedAt, gaps, undelivered } = gateway
  const ranges = gaps.slice(0, gapsShown).map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`))
  const moreGaps = gaps.length > gapsShown ? ` and ${gaps.length - gapsShown} more` : ''
  const gapText =
    gaps.length === 0 ? 'no gap among its last 1000' : `it may be in a gap: ${ranges.join(', ')}${moreGaps}`
  const gone = undelivered.map(
    ([from, to, reason]) => `${from === to ? from : `${from}-${to}`} ${visibleLine(reason)}`,
  )
  return [
    `  ${visibleLine(name)}  ${visibleLine(epoch)} up to ${lastSequence}, stored ${storedAt}; ${gapText}`,
    ...(gone.length === 0 ? [] : [`    or one of those that will not come: ${gone.join(', ')}`]),
  ].join('\n')
}
