import { type Command, InvalidArgumentError } from 'commander'
import { cloudLedger, deviceIdPattern } from '../../src/contract/event.ts'
import { askingForDatabase, type DatabaseChoice, openChosenDatabase } from '../database-choice.ts'
import { readKeyFile } from './key-file.ts'
import type { GatewayKey, Registry } from './registry.ts'
import {
  addGateway,
  addKey,
  readRegistry,
  renameGateway,
  retireKey,
  setState,
  unnameGateway,
} from './registry-postgres.ts'

type Query = Parameters<typeof readRegistry>[0]

const examples = `
Examples:
  tidegate gateways add gateway-1 --cert gateway-1.crt --config cloud.yaml
  tidegate gateways key add gateway-1 --cert gateway-1-new.crt --config cloud.yaml
  tidegate gateways rename gw-old gw-new --config cloud.yaml

A running cloud knows of a change within some seconds.`

/** `tidegate gateways` */
export function registerGatewaysCommand(program: Command): void {
  const gateways = program
    .command('gateways')
    .description('who the gateways are: which are listened to, and which keys their ledgers are signed with')
    .addHelpText('after', examples)
  addList(gateways)
  askingForDatabase(gateways.command('add'))
    .description('register a gateway')
    .argument('<name>', 'as it stands in its configuration', gatewayName)
    .option('--cert <file>', 'its uplink certificate, or the public key of checkpoints.key, PEM')
    .action(async (name: string, { cert, ...database }: DatabaseChoice & { cert?: string }) => {
      const key = cert === undefined ? undefined : readKeyFile(cert)
      await within(database, (query) => addGateway(query, name, key))
      say(key ? `${name} is registered, with key ${key.fingerprint}` : `${name} is registered, without a key`)
    })
  addKeyCommands(gateways)
  askingForDatabase(gateways.command('rename'))
    .description('note that a gateway has another name: as that it may speak of its old ledgers')
    .argument('<old>', 'what it was called', gatewayName)
    .argument('<new>', 'what it is called now', gatewayName)
    .option('--undo', 'take it back: what it said of its old ledgers is not believed any more')
    .action(
      async (former: string, name: string, { undo, ...database }: DatabaseChoice & { undo?: boolean }) => {
        if (undo) {
          await within(database, (query) => unnameGateway(query, former, name))
          return say(`${former} is no former name of ${name}; keys that ${name} is not to have, retire`)
        }
        await within(database, (query) => renameGateway(query, former, name))
        say(`${former} is called ${name} now; what is still to come under its old name is believed as before`)
      },
    )
  addStateCommands(gateways)
}

function addList(gateways: Command): void {
  askingForDatabase(gateways.command('list'))
    .description('show who is registered, with keys and former names')
    .option('--json', 'one JSON object, for programs')
    .action(async ({ json, ...database }: DatabaseChoice & { json?: boolean }) => {
      const registry = await within(database, readRegistry)
      say(json ? JSON.stringify(asJson(registry)) : formatRegistry(registry))
    })
}

function addKeyCommands(gateways: Command): void {
  const key = gateways.command('key').description('the keys that a gateway signs its ledger with')
  askingForDatabase(key.command('add'))
    .description('register a further key, before the gateway signs with it')
    .argument('<name>', 'the gateway', gatewayName)
    .requiredOption('--cert <file>', 'its new certificate, or public key, PEM')
    .action(async (name: string, { cert, ...database }: DatabaseChoice & { cert: string }) => {
      const added = readKeyFile(cert)
      await within(database, (query) => addKey(query, name, added))
      say(`${name} may sign with key ${added.fingerprint}`)
    })
  askingForDatabase(key.command('retire'))
    .description('believe nothing of a key that is dated later than now')
    .argument('<name>', 'the gateway', gatewayName)
    .argument('<fingerprint>', 'its beginning is enough', fingerprintPrefix)
    .action(async (name: string, prefix: string, database: DatabaseChoice) => {
      const retired = await within(database, (query) => retireKey(query, name, prefix))
      say(`${name} signs no more with key ${retired}`)
    })
}

function addStateCommands(gateways: Command): void {
  askingForDatabase(gateways.command('suspend'))
    .description('believe nothing that a gateway publishes from now on: it is set aside as dead letters')
    .argument('<name>', 'the gateway', gatewayName)
    .action(async (name: string, database: DatabaseChoice) => {
      await within(database, (query) => setState(query, name, 'suspended'))
      say(`${name} is suspended: what it publishes becomes dead letters, PROVENANCE`)
    })
  askingForDatabase(gateways.command('resume'))
    .description('believe it again')
    .argument('<name>', 'the gateway', gatewayName)
    .action(async (name: string, database: DatabaseChoice) => {
      await within(database, (query) => setState(query, name, 'active'))
      say(`${name} is active`)
    })
}

/** Does something in the database that was chosen, if that is one of this version. */
async function within<T>(choice: DatabaseChoice, work: (query: Query) => Promise<T>): Promise<T> {
  const database = await openChosenDatabase(choice, 'tidegate-gateways')
  const { requireSchema } = await import('../database/migrate-postgres.ts')
  const { migrations } = await import('../database/migrations/all.ts')
  const { trustNoSchema } = await import('../database/roles-postgres.ts')
  try {
    await database.probe()
    const client = await database.connect()
    try {
      // Of the one connection there is: what comes after goes by it, too.
      await trustNoSchema(client)
      await requireSchema(client, migrations, database.where)
    } finally {
      client.release()
    }
    return await work(database.query.bind(database))
  } finally {
    await database.close()
  }
}

/** What is registered, as a person reads it. */
export function formatRegistry(registry: Registry): string {
  if (registry.gateways.length === 0) return 'no gateway is registered'
  return registry.gateways
    .flatMap(({ name, state, sinceMs }) => [
      `${name}  ${state} since ${timeOf(sinceMs)}${formerly(registry, name)}`,
      ...registry.keysOf(name).map((key) => `  key ${formatKey(key)}`),
    ])
    .join('\n')
}

function formerly({ names }: Registry, name: string): string {
  const former = names.filter(({ gateway }) => gateway === name).map((known) => known.former)
  return former.length === 0 ? '' : `, was called ${former.join(', ')}`
}

function formatKey({ fingerprint, sinceMs, untilMs }: GatewayKey): string {
  return `${fingerprint}  since ${timeOf(sinceMs)}${untilMs === null ? '' : `, retired ${timeOf(untilMs)}`}`
}

function asJson(registry: Registry): object {
  return {
    gateways: registry.gateways.map((gateway) => ({ ...gateway, keys: registry.keysOf(gateway.name) })),
    names: registry.names,
  }
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString()
}

function gatewayName(text: string): string {
  if (text === cloudLedger) throw new InvalidArgumentError(`${cloudLedger} is the cloud's own name.`)
  if (deviceIdPattern.test(text)) return text
  throw new InvalidArgumentError('A name has letters, digits, dot, dash and underscore, at most 64.')
}

function fingerprintPrefix(text: string): string {
  if (/^[0-9a-f]{4,64}$/i.test(text)) return text
  throw new InvalidArgumentError('A fingerprint is hexadecimal: give 4 digits of it at the least.')
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}
