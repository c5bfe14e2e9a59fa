import { Command, InvalidArgumentError } from 'commander'
import { type Limits, parseDuration, withinLimits } from '../units.ts'

/**
 * How an option's text is read; commander puts the option's name in front of what is wrong with it. Every option with a value that
 * is no free text has one of these: a number that nobody checks runs nothing, and is green. `test/house/command-lines.test.ts`
 * holds every program to it.
 */
export type Reader<T> = (text: string) => T

const largest = 1_000_000_000

/** A whole number in digits, nothing else: no sign, no `1e3`, no `10k`, and not nothing. */
export function wholeNumber({ min = 1, max = largest }: { min?: number; max?: number } = {}): Reader<number> {
  return (text) => {
    const value = Number(text)
    if (/^\d{1,15}$/.test(text) && value >= min && value <= max) return value
    throw new InvalidArgumentError(
      `It must be a whole number in digits, from ${min} to ${max}${insteadOf(text)}.`,
    )
  }
}

/** A decimal number above 0: `0.5`, `200`. */
export function positiveNumber({ max = largest }: { max?: number } = {}): Reader<number> {
  return (text) => {
    const value = Number(text)
    if (/^\d{1,15}(\.\d{1,15})?$/.test(text) && value > 0 && value <= max) return value
    throw new InvalidArgumentError(`It must be a number in digits, above 0 and at most ${max}.`)
  }
}

/** A duration as in a configuration, in ms; above 0 unless the limits say otherwise. */
export function durationOf(limits: Limits = { min: '1ms' }): Reader<number> {
  return (text) => {
    const ms = limits.min === '0s' && text === '0' ? 0 : parseDuration(text)
    if (ms !== undefined && withinLimits(ms, { max: '36500d', ...limits })) return ms
    throw new InvalidArgumentError(
      `It must be a duration with its unit, such as 500ms, 30s, 10m, 1h30m or 7d${limits.min === '1ms' ? ', above 0' : ''}.`,
    )
  }
}

/** Values with commas between them, each read by `reader`. */
export function listOf<T>(reader: Reader<T>): Reader<T[]> {
  return (text) => text.split(',').map((one) => reader(one.trim()))
}

const thousands: Readonly<Record<string, number>> = { k: 1e3, m: 1e6 }

/** `10k` was meant for `10000`. */
function insteadOf(text: string): string {
  const [, count, unit = ''] = /^(\d{1,6})([km])$/i.exec(text) ?? []
  const factor = thousands[unit.toLowerCase()]
  return count !== undefined && factor !== undefined ? `: ${Number(count) * factor}` : ''
}

/** A program of the repository's own, such as a benchmark: a command line it cannot read ends it with code 2 before it begins. */
export function programOf(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .showHelpAfterError()
    .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2))
}
