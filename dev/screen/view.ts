import { faultsAhead, nameFault, type RunPlan } from '../faults/plan.ts'
import type { LinkMode } from '../stack/link.ts'
import { duration, grouped, milliseconds } from '../format.ts'
import type { Percentiles, Snapshot } from '../watch/snapshot.ts'

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
  colour: boolean
}

const labelWidth = 10
const nameWidth = 13
const numberWidth = 12
const notesMax = 6
const columnsMax = 100
const sideBySideColumns = 70

/** The view as lines, none wider than the terminal. */
export function renderView(state: ViewState, { columns, colour }: ViewOptions): string[] {
  const width = Math.max(20, Math.min(columns, columnsMax))
  const paint = painter(colour)
  const { snapshot } = state
  const pair = (name: string, value: number | string, tint?: Tint): string => {
    const shown = (typeof value === 'number' ? grouped(value) : value).padStart(numberWidth)
    return `${name.padEnd(nameWidth)}${tint ? paint(tint, shown) : shown}`
  }
  /** Side by side where there is room, else below one another. */
  const row = (label: string, ...parts: string[]): string[] => {
    const shown = parts.filter((part) => part !== '')
    const lines = width < sideBySideColumns ? shown : [shown.join('    ')]
    return lines.map((line, index) => paint('dim', (index === 0 ? label : '').padEnd(labelWidth)) + line)
  }

  const clock = clockText(snapshot, state.plan)
  // Of a title that is too long the end is cut, not the clock after it.
  const title = clip(`${paint('bold', 'Tidegate')}  ${state.title}`, Math.max(8, width - clock.length - 2))
  const gap = Math.max(2, width - visibleLength(title) - clock.length)
  const graph = sparkline(state.depths, Math.max(8, Math.min(44, width - labelWidth - 20)))
  const deepest = Math.max(0, ...state.depths)
  const connected = `${snapshot.connected} of ${snapshot.devices}`

  const lines = [
    `${title}${' '.repeat(gap)}${paint('dim', clock)}`,
    '',
    ...row('sensors', pair('published', snapshot.published), pair('acknowledged', snapshot.acknowledged)),
    ...row(
      '',
      pair('connected', connected, snapshot.connected < snapshot.devices ? 'yellow' : undefined),
      pair('per second', decimal(state.acknowledgedPerSecond)),
    ),
    '',
    ...row(
      'gateway',
      pair('buffered', snapshot.buffered, snapshot.buffered > 0 ? 'yellow' : undefined),
      pair('forwarded', snapshot.forwarded),
    ),
    ...row('', `${paint('cyan', graph)}  ${paint('dim', deepest > 0 ? `up to ${grouped(deepest)}` : '')}`),
    ...row('uplink', uplinkText(snapshot, paint)),
    '',
    ...row(
      'cloud',
      pair('stored', snapshot.stored, 'green'),
      pair('per second', decimal(state.storedPerSecond)),
    ),
    ...row('', pair('duplicates', snapshot.duplicates), pair('dead letters', snapshot.deadLettered)),
    ...row('latency', latencyText('live', snapshot.live), latencyText('backlog', snapshot.backlog)),
    ...(state.plan.faults.length > 0 ? row('to come', aheadText(snapshot, state.plan)) : []),
    '',
    ...notesOf(state.notes, paint),
    '',
    ...(width < sideBySideColumns ? state.keys : [state.keys.join('   ')]).map((keys) => paint('dim', keys)),
  ]
  return lines.map((line) => clip(line, width))
}

/** One line for a log: what a terminal shows, once in a while. */
export function renderLine(snapshot: Snapshot, plan: RunPlan): string {
  const latency = snapshot.live
    ? `  p50 ${milliseconds(snapshot.live.p50)} p99 ${milliseconds(snapshot.live.p99)}`
    : ''
  const away = snapshot.away.length > 0 ? `  away: ${snapshot.away.join(', ')}` : ''
  return (
    `${clockText(snapshot, plan)}  published ${snapshot.published} acknowledged ${snapshot.acknowledged}` +
    ` buffered ${snapshot.buffered} stored ${snapshot.stored} duplicates ${snapshot.duplicates}` +
    ` dead ${snapshot.deadLettered}  uplink ${uplinkWord(snapshot)}${latency}${away}`
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
export function sparkline(values: readonly number[], width: number): string {
  const shown = values.slice(-width)
  const top = Math.max(1, ...shown)
  const bars = shown.map((value) => (value === 0 ? '▁' : ('▁▂▃▄▅▆▇█'[Math.ceil((value / top) * 7)] ?? '█')))
  return bars.join('').padEnd(width)
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

function notesOf(notes: readonly Note[], paint: Paint): string[] {
  const shown = notes.slice(-notesMax).map(({ at, from, text, level, times }) => {
    const tint: Tint | undefined = level === 'error' ? 'red' : level === 'warn' ? 'yellow' : undefined
    const often = times > 1 ? paint('dim', ` ×${times}`) : ''
    return `${paint('dim', `${at} ${from.padEnd(8)}`)} ${tint ? paint(tint, text) : text}${often}`
  })
  return [...shown, ...Array.from({ length: notesMax - shown.length }, () => '')]
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
