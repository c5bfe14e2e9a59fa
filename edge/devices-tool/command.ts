import { hostname } from 'node:os'
import { type Command, InvalidArgumentError } from 'commander'
import { systemClock } from '../../src/clock.ts'
import { deviceIdPattern } from '../../src/contract/event.ts'
import { TidegateError } from '../../src/errors.ts'
import { loadEdgeConfig } from '../config.ts'
import { listenersOf } from '../listeners.ts'
import { loadUsers } from '../users/users-file.ts'
import { addDevice, removeDevice, renewPassword } from './change.ts'
import { snippets } from './snippets.ts'

type Say = (line: string) => void

interface Place {
  users?: string
  config?: string
}

interface Reached extends Place {
  host: string
}

const help = `
They are devices that show a password (mqtt.listeners with auth: password; docs/DEVICES.md). One with a certificate is known by that
and needs none. Which devices the cloud believes a gateway to speak of is another matter: tidegate gateways devices.

Examples:
  tidegate devices add pump-7 --users devices.yaml
  tidegate devices add pump-7 --config edge.yaml --host gateway.lan
  tidegate devices password pump-7 --config edge.yaml
  tidegate devices remove pump-7 --config edge.yaml

A running gateway knows of a change within some seconds, and ends the connections of a device that has no password any more, or another.`

/** `tidegate devices` */
export function registerDevicesCommand(program: Command, say: Say = toStdout): void {
  const devices = program
    .command('devices')
    .description('devices of a gateway that show a password: add, list, remove, another password')
    .addHelpText('after', help)
  reaching(devices.command('add'))
    .description('give a device a password; it is printed once, and kept nowhere')
    .argument('<name>', 'the device ID, which is its user name', deviceId)
    .action((name: string, reached: Reached) => tellNew(name, reached, addDevice, say))
  reaching(devices.command('password'))
    .description('give it another password; the one that it has counts no more')
    .argument('<name>', 'the device', deviceId)
    .action((name: string, reached: Reached) => tellNew(name, reached, renewPassword, say))
  placed(devices.command('remove'))
    .description('take its password away; its connections end')
    .argument('<name>', 'the device', deviceId)
    .action(async (name: string, place: Place) => {
      await removeDevice(fileOf(place), name, systemClock)
      say(`${name} has no password any more`)
    })
  placed(devices.command('list'))
    .description('devices that have a password')
    .action(async (place: Place) => {
      for (const name of [...(await loadUsers(fileOf(place))).keys()].toSorted()) say(name)
    })
}

function placed(command: Command): Command {
  return command
    .option('--users <file>', 'the file of mqtt.users; default: that of the configuration')
    .option('-c, --config <file>', 'the configuration of the gateway')
}

function reaching(command: Command): Command {
  return placed(command).option('--host <name>', 'the name of the gateway in the snippets', hostname())
}

async function tellNew(
  name: string,
  { host, ...place }: Reached,
  give: typeof addDevice,
  say: Say,
): Promise<void> {
  const file = fileOf(place)
  const { port, tls } = listenerOf(place)
  const password = await give(file, name, systemClock)
  say(`${name}: ${password}\n`)
  say(
    'This is the only time that it is shown. Clients over TLS need the CA of the gateway (mqtt.tls.ca) as ca.crt.\n',
  )
  say(snippets({ name, password, host, port, tls }))
}

/** @throws TidegateError `USERS_UNNAMED` */
function fileOf({ users, config }: Place): string {
  const file = users ?? (config === undefined ? undefined : loadEdgeConfig(config, process.env).mqtt.users)
  if (file !== undefined) return file
  throw new TidegateError('USERS_UNNAMED', {
    message: 'it is not said which file of devices is meant',
    retryable: false,
    hint: 'name it with --users FILE, or a configuration that has mqtt.users with --config FILE',
  })
}

/** The one that devices with a password come by; TLS before clear. */
function listenerOf({ config }: Place): { port: number; tls: boolean } {
  const listeners = config === undefined ? [] : listenersOf(loadEdgeConfig(config, process.env))
  const candidates = listeners.filter(({ auth, webSocket }) => auth === 'password' && !webSocket)
  return candidates.find(({ tls }) => tls) ?? candidates[0] ?? { port: 8884, tls: true }
}

function deviceId(text: string): string {
  if (deviceIdPattern.test(text)) return text
  throw new InvalidArgumentError(
    'A device ID has 1 to 64 letters, digits, dots, dashes and underscores, and begins with a letter or a digit.',
  )
}

function toStdout(line: string): void {
  process.stdout.write(`${line}\n`)
}
