import { readFileSync } from 'node:fs'
import { type Command, InvalidArgumentError } from 'commander'
import { isDevicePattern } from '../../src/contract/event.ts'
import { messageOf, TidegateError } from '../../src/errors.ts'
import { listOf } from '../../src/settings/command-line.ts'
import { askingForDatabase, type DatabaseChoice } from '../database-choice.ts'
import { changing, gatewayName, say } from './command-registry.ts'
import { parseDeviceFile } from './device-file.ts'
import { addDevices, removeDevices } from './devices-postgres.ts'
import type { Query } from './query.ts'
import { requireKnown } from './registry-postgres.ts'

/** What a person has said of the devices that a command is about. */
export interface DeviceChoice {
  devices?: string[]
  devicesFrom?: string
}

/** Gives a command the options that name devices. */
export function takingDevices(command: Command): Command {
  return command
    .option(
      '--devices <patterns>',
      "of which devices it may speak: IDs, and beginnings of IDs with a * ('line-3-*,pump-7'); without any, of all",
      listOf(devicePattern),
    )
    .option('--devices-from <file>', 'the same, one a line')
}

/** All that was named. @throws TidegateError `GATEWAY_DEVICES` */
export function devicesChosen({ devices = [], devicesFrom }: DeviceChoice): string[] {
  return [...new Set([...devices, ...(devicesFrom === undefined ? [] : inFile(devicesFrom))])]
}

function inFile(file: string): string[] {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw new TidegateError('GATEWAY_DEVICES', {
      message: `could not read the devices: ${messageOf(error)}`,
      retryable: false,
      hint: 'name a file that has one of them a line',
      cause: error,
    })
  }
  return parseDeviceFile(text, file)
}

const examples = `
Examples:
  tidegate gateways devices add gateway-1 'line-3-*' pump-7 --config cloud.yaml
  tidegate gateways devices add gateway-1 --devices-from line-3.txt --config cloud.yaml

Quote what has a *, or the shell puts names of files in its place. Several gateways may
speak of one device. One that has no pattern speaks of all, and never loses its last.`

/** `tidegate gateways devices` */
export function addDevicesCommands(gateways: Command): void {
  const devices = gateways
    .command('devices')
    .description('of which devices a gateway may speak: what it says of others becomes dead letters')
    .addHelpText('after', examples)
  addCommand(
    devices,
    'add',
    'it may speak of these too; of all others no more, if it had no pattern',
    async (query, name, patterns) => {
      const { names } = await requireKnown(query, name)
      const count = await addDevices(query, name, patterns, names)
      const known = patterns.length - count
      return `${name} may speak of ${many(count)} more${known === 0 ? '' : `; ${many(known)} it had`}`
    },
  )
  addCommand(
    devices,
    'remove',
    'it may speak of these no more, unless another pattern of it covers them',
    async (query, name, patterns) => {
      const { names } = await requireKnown(query, name)
      await removeDevices(query, name, patterns, names)
      return `${many(patterns.length)} of ${name} removed: what it says of such devices becomes dead letters, PROVENANCE`
    },
  )
}

function addCommand(
  devices: Command,
  name: string,
  description: string,
  work: (query: Query, gateway: string, patterns: string[]) => Promise<string>,
): void {
  askingForDatabase(devices.command(name))
    .description(description)
    .argument('<name>', 'the gateway', gatewayName)
    .argument('[patterns...]', "IDs of devices, and beginnings of IDs with a * ('line-3-*')", patternsRead)
    .option('--devices-from <file>', 'more of them, one a line')
    .action(async (gateway: string, patterns: string[], choice: DatabaseChoice & DeviceChoice) => {
      const chosen = devicesChosen({ ...choice, devices: patterns })
      if (chosen.length === 0) throw noneNamed()
      say(await changing(choice, (query) => work(query, gateway, chosen)))
    })
}

function patternsRead(text: string, before: string[] | undefined): string[] {
  return [...(before ?? []), devicePattern(text)]
}

function devicePattern(text: string): string {
  if (isDevicePattern(text)) return text
  throw new InvalidArgumentError(
    'It must be the ID of a device, or the beginning of IDs and a *, such as line-3-*.',
  )
}

function many(count: number): string {
  return count === 1 ? '1 pattern' : `${count} patterns`
}

function noneNamed(): TidegateError {
  return new TidegateError('OPTIONS_INVALID', {
    message: 'which devices?',
    retryable: false,
    hint: "name them: IDs, and beginnings of IDs with a * ('line-3-*'), or a file with --devices-from",
  })
}
