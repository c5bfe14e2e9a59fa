#!/usr/bin/env -S node --max-semi-space-size=64
import { readFileSync } from 'node:fs'
import { setDefaultAutoSelectFamilyAttemptTimeout } from 'node:net'
import { Command, CommanderError } from 'commander'
import { attemptTimeoutMs } from '../src/amqp/address.ts'
import { codeOf, explain, messageOf, TidegateError } from '../src/errors.ts'
import { visible } from '../src/visible.ts'

type Register = (program: Command) => void

/** Each command loads only what it needs: an edge machine has no use for the cloud's database driver. */
const commands: Readonly<Record<string, () => Promise<Register>>> = {
  edge: async () => (await import('../edge/command.ts')).registerEdgeCommand,
  cloud: async () => (await import('../cloud/command.ts')).registerCloudCommand,
  audit: async () => (await import('../cloud/audit/marks/command.ts')).registerAuditCommand,
  history: async () => (await import('../cloud/retention/command.ts')).registerHistoryCommand,
  gateways: async () => (await import('../cloud/gateways/command.ts')).registerGatewaysCommand,
  dead: async () => (await import('../cloud/tool/dead.ts')).registerDeadCommand,
  replay: async () => (await import('../cloud/tool/replays/command.ts')).registerReplayCommand,
  where: async () => (await import('../cloud/tool/where.ts')).registerWhereCommand,
  groups: async () => (await import('../cloud/tool/groups.ts')).registerGroupsCommand,
  parked: async () => (await import('../cloud/tool/groups.ts')).registerParkedCommand,
  projections: async () => (await import('../cloud/tool/projections/command.ts')).registerProjectionsCommand,
  schema: async () => (await import('../cloud/schemas/command.ts')).registerSchemaCommand,
  token: async () => (await import('../cloud/tool/access.ts')).registerTokenCommand,
  api: async () => (await import('../cloud/tool/access.ts')).registerApiCommand,
  asyncapi: async () => (await import('./asyncapi/command.ts')).registerAsyncapiCommand,
  new: async () => (await import('../cloud/scaffolding/command.ts')).registerNewCommand,
  devices: async () => (await import('../edge/devices-tool/command.ts')).registerDevicesCommand,
  outbox: async () => (await import('../edge/outbox-tool/command.ts')).registerOutboxCommand,
  dev: async () => (await import('../dev/command.ts')).registerDevCommand,
  simulate: async () => (await import('../dev/command.ts')).registerSimulateCommand,
  certs: async () => (await import('../certs/command.ts')).registerCertsCommands,
  lists: async () => (await import('../certs/lists/command.ts')).registerListsCommand,
}

const examples = `
Examples:
  tidegate edge --config config/edge.example.yaml
  tidegate cloud --config config/cloud.example.yaml
  tidegate outbox inspect --config config/edge.example.yaml
  tidegate certs development
  tidegate dev --for 30s --outage 10s`

/** What PostgreSQL's driver and RabbitMQ's HTTP API may take; those of AMQP have their own. */
const connectTimeoutMs = 10_000

async function main(argv: readonly string[]): Promise<void> {
  const program = new Command('tidegate')
    .description(
      'IoT edge-to-cloud event gateway: durable before acknowledged, forwarded once, provably complete',
    )
    .version(version(), '-V, --version')
    .addHelpText('after', examples)
    .showHelpAfterError('(tidegate --help shows what there is)')
    .exitOverride()
  const [wanted = ''] = argv
  for (const register of await load(wanted)) register(program)
  await program.parseAsync(argv, { from: 'user' })
}

/** The command that was asked for, or all that are installed, for the help. */
async function load(wanted: string): Promise<Register[]> {
  const asked = Object.hasOwn(commands, wanted) ? commands[wanted] : undefined
  if (asked) return [await installedOf(asked, wanted)]
  const installed: Register[] = []
  for (const command of Object.values(commands)) {
    try {
      installed.push(await command())
    } catch (error) {
      if (codeOf(error) !== 'ERR_MODULE_NOT_FOUND') throw error
    }
  }
  return installed
}

/** A project of consumers has a part of the commands (docs/CONSUMERS.md). */
async function installedOf(command: () => Promise<Register>, name: string): Promise<Register> {
  try {
    return await command()
  } catch (cause) {
    // A package that a command needs is another matter than the command.
    if (codeOf(cause) !== 'ERR_MODULE_NOT_FOUND' || !messageOf(cause).startsWith('Cannot find module'))
      throw cause
    throw new TidegateError('COMMAND_ELSEWHERE', {
      message: `tidegate ${name} is not in this package`,
      retryable: false,
      hint: 'it is a command of the gateway itself: run it where that is installed, or from its image',
      cause,
    })
  }
}

function version(): string {
  // Two folders up when compiled (dist/cli), one when run from source.
  for (const path of ['../../package.json', '../package.json']) {
    try {
      const about = JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as { version: string }
      return about.version
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error
    }
  }
  return 'unknown'
}

/** One screen, never a stack trace, unless it is asked for. */
function report(error: unknown): void {
  const stack =
    process.env['TIDEGATE_DEBUG'] === '1' && error instanceof Error ? `\n${error.stack ?? ''}` : ''
  process.stderr.write(visible(`${explain(error)}${stack}\n`))
}

function crash(error: unknown): void {
  report(error)
  process.exit(1)
}
// `tidegate audit | head` reads what it wants and goes: that is no fault.
process.stdout.on('error', (error) => (codeOf(error) === 'EPIPE' ? process.exit() : crash(error)))
process.on('uncaughtException', crash)
process.on('unhandledRejection', crash)

// Of a name's addresses each is waited for as long as our limits let it, and not 250 ms.
setDefaultAutoSelectFamilyAttemptTimeout(attemptTimeoutMs(connectTimeoutMs))

try {
  await main(process.argv.slice(2))
} catch (error) {
  // Usage faults and help have been shown by then; only help and version are no failure.
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2
  else {
    report(error)
    process.exitCode = 1
  }
}
