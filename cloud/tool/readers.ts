import { InvalidArgumentError } from 'commander'
import { deviceIdPattern } from '../../src/contract/event.ts'
import { parseDuration } from '../../src/units.ts'

/** How texts of a command line are read. */

export function keyOf(text: string): string {
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) return text
  throw new InvalidArgumentError('It must be a UUID.')
}

export function groupOf(text: string): string {
  if (/^[a-z][a-z0-9-]{0,63}$/.test(text)) return text
  throw new InvalidArgumentError('A group has small letters, digits and dashes, at most 64.')
}

export function deviceOf(text: string): string {
  if (deviceIdPattern.test(text)) return text
  throw new InvalidArgumentError('A device has letters, digits, dot, dash and underscore, at most 64.')
}

export function failureCodeOf(text: string): string {
  if (/^[A-Z][A-Z0-9_]{0,63}$/.test(text)) return text
  throw new InvalidArgumentError('A code has capital letters, digits and underscores, at most 64.')
}

export function projectionOf(text: string): string {
  if (/^[a-z][a-z0-9_]{0,30}$/.test(text)) return text
  throw new InvalidArgumentError('A projection has small letters, digits and underscores, at most 31.')
}

export function versionOf(text: string): number {
  if (/^[1-9]\d{0,3}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('A version is a whole number from 1 to 9999.')
}

export function fingerprintOf(text: string): string {
  if (/^[0-9a-f]{8,64}$/.test(text)) return text
  throw new InvalidArgumentError('A fingerprint is hexadecimal: tidegate dead groups shows them.')
}

/** A moment: RFC 3339, or so long ago (`2h`). */
export function momentOf(text: string): string {
  const agoMs = parseDuration(text)
  if (agoMs !== undefined && !/^\d+$/.test(text)) return new Date(Date.now() - agoMs).toISOString()
  const ms = Date.parse(text)
  if (Number.isNaN(ms) || !/^\d{4}-/.test(text))
    throw new InvalidArgumentError('It must be a time such as 2026-11-27T08:00:00Z, or how long ago: 2h.')
  return new Date(ms).toISOString()
}

/** So many in a second: `50/s` or `50`. */
export function rateOf(text: string): number {
  const rate = Number(/^(\d{1,6}(?:\.\d{1,3})?)(?:\/s)?$/.exec(text)?.[1])
  if (rate > 0 && rate <= 100_000) return rate
  throw new InvalidArgumentError('It must be so many in a second, such as 50/s, at most 100000.')
}

/** A share: `10%` or `0.1`. */
export function shareOf(text: string): number {
  const [, digits, percent] = /^(\d{1,3}(?:\.\d{1,3})?)(%?)$/.exec(text) ?? []
  const share = Number(digits) / (percent === '%' ? 100 : 1)
  if (share >= 0 && share <= 1) return share
  throw new InvalidArgumentError('It must be a share, such as 10% or 0.1.')
}

export interface Place {
  gateway: string
  epoch: string
  sequence: number
}

/** A place in a ledger: `gateway-1/01M8AY…/2140`. */
export function placeOf(text: string): Place {
  const [, gateway = '', epoch = '', sequence] = /^([^/]+)\/([0-9A-Za-z]{1,26})\/(\d{1,15})$/.exec(text) ?? []
  if (deviceIdPattern.test(gateway)) return { gateway, epoch, sequence: Number(sequence) }
  throw new InvalidArgumentError('It must be gateway/epoch/sequence, as tidegate dead quarantine shows it.')
}

/** `/kpa=101.3`: an operation of a JSON Patch. What is no JSON is taken for a text. */
export function settingOf(
  text: string,
  before: { op: 'add'; path: string; value: unknown }[] = [],
): { op: 'add'; path: string; value: unknown }[] {
  const [, path, value = ''] = /^(\/[^=]*)=(.*)$/s.exec(text) ?? []
  if (path === undefined)
    throw new InvalidArgumentError('It must be /path=value, the path within data: /kpa=101.3.')
  return [...before, { op: 'add', path, value: valueIn(value) }]
}

function valueIn(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return text
  }
}
