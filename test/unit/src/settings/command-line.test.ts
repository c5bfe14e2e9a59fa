import { Command } from 'commander'
import { describe, expect, test } from 'vitest'
import { registerCertsCommands } from '../../../../certs/command.ts'
import { registerAuditCommand } from '../../../../cloud/audit/marks/command.ts'
import { registerDevCommand, registerSimulateCommand } from '../../../../dev/command.ts'
import { registerOutboxCommand } from '../../../../edge/outbox-tool/command.ts'
import { durationOf, listOf, positiveNumber, wholeNumber } from '../../../../src/settings/command-line.ts'

const noNumbers = [
  '10k',
  'abc',
  '',
  ' ',
  '-1',
  '1e3',
  '0x10',
  '1.5.5',
  '٣',
  'Infinity',
  'NaN',
  '9'.repeat(20),
]

test.each(noNumbers)('%j is no number on a command line', (text) => {
  for (const reader of [wholeNumber(), positiveNumber(), durationOf()])
    expect(() => reader(text)).toThrow(/It must be a /)
  expect(() => listOf(wholeNumber())(`1,${text}`)).toThrow(/It must be a /)
})

test('numbers, durations and lists are read', () => {
  expect(wholeNumber()('10000')).toBe(10_000)
  expect(positiveNumber()('0.5')).toBe(0.5)
  expect(durationOf()('1h30m')).toBe(5_400_000)
  expect(durationOf({ min: '0s' })('0')).toBe(0)
  expect(listOf(wholeNumber())('1,2, 3')).toEqual([1, 2, 3])
})

test('nothing is not a count, and limits are told', () => {
  expect(() => wholeNumber()('0')).toThrow('from 1 to 1000000000')
  expect(() => positiveNumber()('0')).toThrow('above 0')
  expect(() => durationOf()('0s')).toThrow('above 0')
  expect(() => wholeNumber()('10k')).toThrow(
    'It must be a whole number in digits, from 1 to 1000000000: 10000.',
  )
})

describe('every number that a command takes', () => {
  const program = new Command().exitOverride().configureOutput({ writeErr: () => undefined })
  for (const register of [
    registerCertsCommands,
    registerAuditCommand,
    registerDevCommand,
    registerSimulateCommand,
    registerOutboxCommand,
  ])
    register(program)
  const numbers = leavesOf(program).flatMap((command) =>
    command.options
      .filter(({ flags }) => /<(count|number|days|duration|factor|sequence)>/.test(flags))
      .map((option) => ({ name: `${nameOf(command)} ${option.long ?? ''}`, option })),
  )

  test('is found', () => {
    expect(numbers.length).toBeGreaterThan(20)
  })

  test.each(numbers)('is read before anything begins: $name', ({ option }) => {
    for (const text of noNumbers)
      expect(() => option.parseArg?.(text, undefined), text).toThrow(/It must be a /)
  })
})

function leavesOf(command: Command): Command[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap((one) => leavesOf(one))
}

function nameOf(command: Command): string {
  return `${command.parent?.name() ?? ''} ${command.name()}`
}
