import { visibleLine } from '../../src/visible.ts'
import type {
  FailureGroup,
  GroupItem,
  LetterItem,
  LetterWhole,
  ParkedItem,
  QuarantineItem,
  ReplayItem,
} from '../api/rules/shapes.ts'

/** What the API says, as a person reads it, in 80 columns. */

const columns = 80
const indent = '  '

/** One line: line ends would break a table. */
function cut(text: string, width: number): string {
  const line = visibleLine(text)
  return line.length <= width ? line : `${line.slice(0, width - 1)}…`
}

/** `2026-11-27 10:31`: UTC, as everywhere. */
export function shortTime(time: string | null): string {
  return time === null ? '-' : time.slice(0, 16).replace('T', ' ')
}

type Cell = string | number

/** Columns as wide as their widest cell; numbers to the right; a line more beneath a row where there is one to say. */
export function table(
  heads: readonly string[],
  rows: readonly { cells: readonly Cell[]; beneath?: string }[],
): string {
  const widths = heads.map((head, column) =>
    Math.max(head.length, ...rows.map(({ cells }) => String(cells[column] ?? '').length)),
  )
  const line = (cells: readonly Cell[], like: readonly Cell[]): string =>
    cells
      .map((cell, column) =>
        typeof like[column] === 'number'
          ? String(cell).padStart(widths[column] ?? 0)
          : String(cell).padEnd(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd()
  const [first] = rows
  return [
    line(heads, first?.cells ?? []),
    ...rows.flatMap(({ cells, beneath }) => [
      line(cells, cells),
      ...(beneath === undefined || beneath === '' ? [] : [indent + cut(beneath, columns - indent.length)]),
    ]),
  ].join('\n')
}

export function failureGroupsText(groups: readonly FailureGroup[]): string {
  if (groups.length === 0) return 'no failure groups: nothing has failed, or all of it is settled'
  const rows = groups.map(({ fingerprint, open, letters, lastSeen, status, group, code, type, message }) => ({
    cells: [fingerprint, open, letters, shortTime(lastSeen), status, cut(group, 16)],
    beneath: `${code}${type === null ? '' : ` ${type}`}${message === undefined ? '' : `: ${message}`}`,
  }))
  return table(['fingerprint', 'open', 'letters', 'last seen (UTC)', 'status', 'group'], rows)
}

export function lettersText(letters: readonly LetterItem[]): string {
  if (letters.length === 0) return 'no dead letters'
  const rows = letters.map(
    ({ letter, state, attempts, lastFailedAt, group, device, code, message, edited }) => ({
      cells: [
        letter,
        edited ? `${state}*` : state,
        attempts,
        shortTime(lastFailedAt),
        cut(group, 16),
        cut(device ?? '-', 16),
      ],
      beneath: message === undefined ? code : `${code}: ${message}`,
    }),
  )
  const note = letters.some(({ edited }) => edited) ? '\n* edited for its next replay' : ''
  return table(['letter', 'state', 'tries', 'failed (UTC)', 'group', 'device'], rows) + note
}

export function fields(
  pairs: readonly (readonly [name: string, value: string | number | null | undefined])[],
): string {
  const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== '')
  const widest = Math.max(...shown.map(([name]) => name.length))
  return shown.map(([name, value]) => `${name.padEnd(widest)}  ${visibleLine(String(value))}`).join('\n')
}

export function letterText(letter: LetterWhole): string {
  const { gateway, epoch, sequence } = letter
  const place = gateway === null || epoch === null ? null : `${gateway}/${epoch}/${sequence}`
  const head = fields([
    ['letter', letter.letter],
    ['state', letter.edited ? `${letter.state}, edited for its next replay` : letter.state],
    ['group', letter.group],
    ['code', letter.code],
    ['said', letter.message],
    ['cause', letter.fingerprint],
    ['event', letter.id],
    ['source', letter.source],
    ['type', letter.type],
    ['ledger', place],
    ['queue', letter.queue],
    ['user', letter.publisher],
    ['attempts', letter.attempts],
    [
      'replays',
      letter.replay === null ? letter.replays : `${letter.replays}, the last in replay ${letter.replay}`,
    ],
    ['consumer', letter.version],
    ['failed', `${letter.firstFailedAt} to ${letter.lastFailedAt}`],
    ['closed', letter.closedAt],
  ])
  const story = letter.failures.map(
    ({ attempt, at, code, message }) =>
      `  ${attempt}. ${visibleLine(at)}  ${visibleLine(code)}${message === undefined ? '' : `: ${visibleLine(message)}`}`,
  )
  return [
    head,
    section('attempts', story.join('\n')),
    section('thrown at', letter.stack),
    section('edit', letter.edit === undefined || letter.edit === null ? undefined : pretty(letter.edit)),
    section('body', bodyOf(letter)),
    section('headers', letter.headers === undefined ? undefined : pretty(letter.headers)),
  ]
    .filter((part) => part !== '')
    .join('\n\n')
}

function section(name: string, text: string | null | undefined): string {
  return text === null || text === undefined || text === '' ? '' : `${name}\n${text}`
}

function bodyOf({ body, bodyBase64, bodyBytes }: LetterWhole): string {
  if (body === undefined) return `${bodyBytes} bytes, which need the right "payload"`
  if (body === null) return `${bodyBytes} bytes that are no text, base64: ${bodyBase64 ?? ''}`
  try {
    return pretty(JSON.parse(body))
  } catch {
    return body
  }
}

function pretty(value: unknown): string {
  return JSON.stringify(value, undefined, 2)
}

export function replaysText(replays: readonly ReplayItem[]): string {
  if (replays.length === 0) return 'no replays'
  const rows = replays.map(
    ({ replay, state, total, sent, resolved, failed, startedAt, actor, why, reason }) => ({
      cells: [replay, state, total, sent, resolved, failed, shortTime(startedAt)],
      beneath: `${actor}: ${why ?? ''}${reason === null ? '' : ` (${reason})`}`,
    }),
  )
  return table(['replay', 'state', 'total', 'sent', 'resolved', 'failed', 'started (UTC)'], rows)
}

export function groupsText(groups: readonly GroupItem[]): string {
  if (groups.length === 0) return 'no groups: no consumer has run here yet'
  const rows = groups.map(({ group, state, openLetters, parkedDevices, instances }) => ({
    cells: [cut(group, 32), state.state, openLetters, parkedDevices, instances.length],
    ...(state.reason !== null && { beneath: `${state.actor ?? 'by itself'}: ${state.reason}` }),
  }))
  return table(['group', 'state', 'open letters', 'parked', 'instances'], rows)
}

export function parkedText(parked: readonly ParkedItem[]): string {
  if (parked.length === 0) return 'no parked devices'
  const rows = parked.map(({ device, state, attempt, events, overflowed, since, nextAt, code, message }) => ({
    cells: [
      cut(device, 28),
      state,
      attempt,
      overflowed ? `${events} full` : events,
      shortTime(since),
      state === 'held' ? '-' : nextAt.slice(11, 19),
    ],
    beneath: [code, message].filter((one) => one !== null && one !== undefined).join(': '),
  }))
  return table(['device', 'state', 'tries', 'events', 'since (UTC)', 'next'], rows)
}

export function quarantineText(readings: readonly QuarantineItem[]): string {
  if (readings.length === 0) return 'no quarantined readings'
  return readings
    .map(({ gateway, epoch, sequence, device, reason, recordedAt, detail }) => {
      const about = `${shortTime(recordedAt)}  ${cut(device, 28)}  ${cut(reason ?? '', 30)}`
      const place = `${indent}${gateway}/${epoch}/${sequence}`
      return [
        about,
        place,
        ...(detail === undefined || detail === null ? [] : [indent + cut(detail, columns - 2)]),
      ].join('\n')
    })
    .join('\n')
}
