import { faultsAhead, nameFault, type RunPlan } from '../faults/plan.ts'
import type { LinkMode } from '../stack/link.ts'
import { duration, grouped, milliseconds } from '../format.ts'
import { waitingOf } from '../watch/flow.ts'
import type { Percentiles, Snapshot } from '../watch/snapshot.ts'
import { fitting, wrapped, type Ranked } from './fit.ts'

export interface ViewState {
  title: string
  plan: RunPlan
  snapshot: Snapshot
  /** Buffer depths, oldest first. */
  depths: readonly number[]
  /** Events acknowledged and stored per second, just now. */
  acknowledgedPerSecond: number
  storedPerSecond: number
  notes: readonly Note[]
  keys: readonly string[]
}

export interface Note {
  /** `09:41:07` */
  at: string
  from: string
  text: string
  level: 'info' | 'warn' | 'error'
  /** How often it was said. */
  times: number
}

export interface ViewOptions {
  columns: number
  /** Lines there are; undefined: as many as it takes. */
  rows?: number
  colour: boolean
}

const labelWidth = 10
const nameWidth = 13
const numberWidth = 12
const notesMax = 6
const columnsMax = 100
const sideBySideColumns = 70

/** The view as lines, none wider than the terminal and no more than it has; the keys are always among them. */
export function renderView(state: ViewState, { columns, rows = Infinity, colour }: ViewOptions): string[] {
  const width = Math.max(20, Math.min(columns, columnsMax))
  const paint = painter(colour)
  const keys = wrapped(state.keys, width).map((text) => ({ text: paint('dim', text), rank: 0 }))
  const lines: Ranked[] = [
    { text: titleOf(state, width, paint), rank: 0 },
    blank,
    ...numbersOf(state, width, paint),
    blank,
    ...notesOf(state.notes, paint),
    blank,
    ...keys,
  ]
  return fitting(lines, rows).map((line) => clip(line, width))
}

const blank: Ranked = { text: '', rank: 9 }

function titleOf({ title, snapshot, plan }: ViewState, width: number, paint: Paint): string {
  const clock = clockText(snapshot, plan)
  // Of a title that is too long the end is cut, not the clock after it.
  const shown = clip(`${paint('bold', 'Tidegate')}  ${title}`, Math.max(8, width - clock.length - 2))
  const gap = Math.max(2, width - visibleLength(shown) - clock.length)
  return `${shown}${' '.repeat(gap)}${paint('dim', clock)}`
}

/** Where the events are, from the sensors to the history. What is worth most has the lowest rank. */
function numbersOf(state: ViewState, width: number, paint: Paint): Ranked[] {
  const { snapshot } = state
  const { leftBefore, undelivered } = snapshot
  const pair = (name: string, value: number | string, tint?: Tint): string => {
    const shown = (typeof value === 'number' ? grouped(value) : value).padStart(numberWidth)
    return `${name.padEnd(nameWidth)}${tint ? paint(tint, shown) : shown}`
  }
  /** Side by side where there is room, else below one another. */
  const row = (label: string, rank: number, ...parts: string[]): Ranked[] => {
    const shown = parts.filter((part) => part !== '')
    const lines = width < sideBySideColumns ? shown : [shown.join('    ')]
    return lines.map((line, index) => ({
      text: paint('dim', (index === 0 ? label : '').padEnd(labelWidth)) + line,
      rank: index === 0 ? rank : rank + 1,
    }))
  }
  const waiting = waitingOf(snapshot)
  const connected = `${snapshot.connected} of ${snapshot.devices}`
  const depths = state.depths.slice(-Math.max(8, Math.min(44, width - labelWidth - 20)))
  const deepest = Math.max(0, ...depths)
  const { faults } = state.plan
  return [
    ...row('sensors', 1, pair('acknowledged', snapshot.acknowledged), pair('published', snapshot.published)),
    ...row(
      '',
      4,
      pair('per second', decimal(state.acknowledgedPerSecond)),
      pair('connected', connected, snapshot.connected < snapshot.devices ? 'yellow' : undefined),
    ),
    blank,
    ...row(
      'gateway',
      1,
      pair('buffered', waiting, waiting > 0 ? 'yellow' : undefined),
      pair('forwarded', snapshot.forwarded),
    ),
    ...(leftBefore > 0 || undelivered > 0
      ? row('', 3, pair('left before', leftBefore), pair('given up', undelivered))
      : []),
    ...row(
      '',
      5,
      `${paint('cyan', sparkline(depths))}  ${paint('dim', deepest > 0 ? `up to ${grouped(deepest)}` : '')}`,
    ),
    ...row('', 5, pair('repeats', snapshot.duplicates)),
    ...row('uplink', 2, uplinkText(snapshot, paint)),
    blank,
    ...row(
      'cloud',
      1,
      pair('stored', snapshot.stored, 'green'),
      pair('per second', decimal(state.storedPerSecond)),
    ),
    ...row('', 5, pair('quarantined', snapshot.quarantined)),
    ...row('latency', 5, latencyText('live', snapshot.live), latencyText('backlog', snapshot.backlog)),
    ...row('proof', 3, proofText(snapshot, paint)),
    ...(faults.length > 0 ? row('to come', 4, aheadText(snapshot, state.plan)) : []),
  ]
}

/** What was proven last, and how old that is. */
function proofText({ proof, elapsedMs }: Snapshot, paint: Paint): string {
  if (!proof) return paint('dim', 'not yet')
  const { missing, intact, events, atMs } = proof
  const good = missing === 0 && intact
  const found = `missing ${grouped(missing)} · chain ${intact ? 'intact' : 'BROKEN'}`
  const ageS = Math.round((elapsedMs - atMs) / 1000)
  return `${paint(good ? 'green' : 'red', found)}  ${paint('dim', `${grouped(events)} events, ${ageS} s ago`)}`
}

/** One line for a log: what a terminal shows, once in a while. */
export function renderLine(snapshot: Snapshot, plan: RunPlan): string {
  const latency = snapshot.live
    ? `  p50 ${milliseconds(snapshot.live.p50)} p99 ${milliseconds(snapshot.live.p99)}`
    : ''
  const away = snapshot.away.length > 0 ? `  away: ${snapshot.away.join(', ')}` : ''
  return (
    `${clockText(snapshot, plan)}  published ${snapshot.published} acknowledged ${snapshot.acknowledged}` +
    ` buffered ${waitingOf(snapshot)} stored ${snapshot.stored} duplicates ${snapshot.duplicates}` +
    ` quarantined ${snapshot.quarantined}  uplink ${uplinkWord(snapshot)}${latency}${away}`
  )
}

/** What will be done, before it is done; empty where nothing is planned. */
export function renderPlan(plan: RunPlan): string {
  const faults = faultsAhead(plan, -1).map((fault) => `${nameFault(fault)} at ${duration(fault.atMs)}`)
  if (plan.forMs === undefined && faults.length === 0) return ''
  const lasts = plan.forMs === undefined ? 'The run' : `The run (${duration(plan.forMs)})`
  return `${lasts}: ${faults.length === 0 ? 'no faults' : faults.join(', ')}.`
}

function clockText({ elapsedMs }: Snapshot, { forMs }: RunPlan): string {
  return forMs === undefined ? duration(elapsedMs) : `${duration(elapsedMs)} of ${duration(forMs)}`
}

function aheadText({ elapsedMs }: Snapshot, plan: RunPlan): string {
  const faults = faultsAhead(plan, elapsedMs)
  if (faults.length === 0) return 'no more faults'
  return faults
    .map((fault) => `${nameFault(fault)} in ${Math.ceil((fault.atMs - elapsedMs) / 1000)} s`)
    .join(', ')
}

/** Depth over time in eighths of a line; scaled to its own highest value. */
export function sparkline(values: readonly number[]): string {
  const top = Math.max(1, ...values)
  return values
    .map((value) => (value === 0 ? '▁' : ('▁▂▃▄▅▆▇█'[Math.ceil((value / top) * 7)] ?? '█')))
    .join('')
}

/** Select Graphic Rendition, on and off (ECMA-48, 8.3.117). */
const tints = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  cyan: [36, 39],
} as const
type Tint = keyof typeof tints
type Paint = (tint: Tint, text: string) => string

function painter(colour: boolean): Paint {
  return (tint, text) => {
    const [on, off] = tints[tint]
    return colour && text !== '' ? `\u001b[${on}m${text}\u001b[${off}m` : text
  }
}

function uplinkWord({ link, uplinkUp }: Snapshot): string {
  if (link.kind !== 'up') return link.kind
  return uplinkUp ? 'up' : 'reconnecting'
}

const linkNotes: Record<LinkMode['kind'], string> = {
  up: '',
  down: 'taken down: events wait in the outbox, sensors notice nothing',
  stalled: 'half-open: connected, and nothing passes',
  slow: '',
}

function uplinkText(snapshot: Snapshot, paint: Paint): string {
  const word = uplinkWord(snapshot)
  const tint = word === 'up' ? 'green' : word === 'down' || word === 'stalled' ? 'red' : 'yellow'
  const { link } = snapshot
  const note =
    link.kind === 'slow'
      ? `${link.latencyMs} ms each way, ${grouped(Math.round(link.bytesPerSecond / 1000))} kB/s`
      : linkNotes[link.kind]
  const away = snapshot.away.length > 0 ? `away: ${snapshot.away.join(', ')}` : ''
  const mark = word === 'up' ? '●' : '○'
  return `${paint(tint, `${mark} ${word}`)}  ${paint('dim', note)}${away && ` ${paint('red', away)}`}`
}

function latencyText(name: string, percentiles: Percentiles | undefined): string {
  const text = percentiles
    ? `p50 ${milliseconds(percentiles.p50)}  p99 ${milliseconds(percentiles.p99)}`
    : '–'
  return `${name}  ${text}`.padEnd(nameWidth + numberWidth)
}

/** Of what the programs repeat for ever no more than leaves room for what was done to them. */
const programNotesMax = 3

function notesOf(notes: readonly Note[], paint: Paint): Ranked[] {
  const done = notes.filter(({ from }) => from === 'run').slice(-notesMax)
  const room = Math.max(programNotesMax, notesMax - done.length)
  const said = notes.filter(({ from }) => from !== 'run').slice(-room)
  const chosen = new Set([...said, ...done.slice(said.length - notesMax)])
  const shown = notes.filter((note) => chosen.has(note))
  const lines = shown.map(({ at, from, text, level, times }, index) => {
    const tint: Tint | undefined = level === 'error' ? 'red' : level === 'warn' ? 'yellow' : undefined
    const often = times > 1 ? paint('dim', ` ×${times}`) : ''
    const line = `${paint('dim', `${at} ${from.padEnd(8)}`)} ${tint ? paint(tint, text) : text}${often}`
    return { text: line, rank: index === shown.length - 1 ? 3 : 6 }
  })
  return [...lines, ...Array.from({ length: notesMax - lines.length }, () => ({ text: '', rank: 8 }))]
}

function decimal(value: number): string {
  return value.toFixed(value < 100 ? 1 : 0)
}

// oxlint-disable-next-line no-control-regex -- escape sequences are what it looks for
const escapes = /\u001b\[[0-9;]*m/g

export function visibleLength(line: string): number {
  return Array.from(line.replaceAll(escapes, '')).length
}

/** Cuts what would wrap, and ends whatever colour was on. */
export function clip(line: string, width: number): string {
  if (visibleLength(line) <= width) return line
  let out = ''
  let used = 0
  let rest = line
  while (rest !== '' && used < width - 1) {
    // oxlint-disable-next-line no-control-regex -- escape sequences are what it looks for
    const escape = /^\u001b\[[0-9;]*m/.exec(rest)?.[0]
    const next = escape ?? String.fromCodePoint(rest.codePointAt(0) ?? 32)
    out += next
    rest = rest.slice(next.length)
    if (escape === undefined) used += 1
  }
  return `${out}…${line.includes('\u001b') ? '\u001b[0m' : ''}`
}
