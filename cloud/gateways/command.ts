import { type Command, InvalidArgumentError } from 'commander'
import { askingForDatabase, type DatabaseChoice } from '../database-choice.ts'
import { addDevicesCommands, type DeviceChoice, devicesChosen, takingDevices } from './command-devices.ts'
import { addList } from './command-list.ts'
import { changing, gatewayName, say } from './command-registry.ts'
import { addDevices } from './devices-postgres.ts'
import { readKeyFile } from './key-file.ts'
import { addGateway, addKey, renameGateway, retireKey, setState, unnameGateway } from './registry-postgres.ts'

const examples = `
Examples:
  tidegate gateways add gateway-1 --cert gateway-1.crt --config cloud.yaml
  tidegate gateways key add gateway-1 --cert gateway-1-new.crt --config cloud.yaml
  tidegate gateways rename gw-old gw-new --config cloud.yaml
  tidegate gateways devices add gateway-1 'line-3-*' pump-7 --config cloud.yaml

A running cloud knows of a change within some seconds.`

/** `tidegate gateways` */
export function registerGatewaysCommand(program: Command): void {
  const gateways = program
    .command('gateways')
    .description(
      'who the gateways are: which are listened to, of which devices, and which keys their ledgers are signed with',
    )
    .addHelpText('after', examples)
  addList(gateways)
  addAdd(gateways)
  addKeyCommands(gateways)
  addDevicesCommands(gateways)
  askingForDatabase(gateways.command('rename'))
    .description('note that a gateway has another name: as that it may speak of its old ledgers')
    .argument('<old>', 'what it was called', gatewayName)
    .argument('<new>', 'what it is called now', gatewayName)
    .option('--undo', 'take it back: what it said of its old ledgers is not believed any more')
    .action(
      async (former: string, name: string, { undo, ...database }: DatabaseChoice & { undo?: boolean }) => {
        if (undo) {
          await changing(database, (query) => unnameGateway(query, former, name))
          return say(`${former} is no former name of ${name}; keys that ${name} is not to have, retire`)
        }
        await changing(database, (query) => renameGateway(query, former, name))
        say(`${former} is called ${name} now; what is still to come under its old name is believed as before`)
      },
    )
  addStateCommands(gateways)
}

function addAdd(gateways: Command): void {
  takingDevices(askingForDatabase(gateways.command('add')))
    .description('register a gateway')
    .argument('<name>', 'as it stands in its configuration', gatewayName)
    .option('--cert <file>', 'its uplink certificate, or the public key of checkpoints.key, PEM')
    .action(
      async (name: string, { cert, ...database }: DatabaseChoice & DeviceChoice & { cert?: string }) => {
        const key = cert === undefined ? undefined : readKeyFile(cert)
        const patterns = devicesChosen(database)
        await changing(database, async (query) => {
          await addGateway(query, name, key)
          await addDevices(query, name, patterns)
        })
        const keyed = key ? `with key ${key.fingerprint}` : 'without a key'
        const listed =
          patterns.length === 0
            ? ''
            : `, for ${patterns.length} pattern${patterns.length === 1 ? '' : 's'} of devices`
        say(`${name} is registered, ${keyed}${listed}`)
      },
    )
}

function addKeyCommands(gateways: Command): void {
  const key = gateways.command('key').description('the keys that a gateway signs its ledger with')
  askingForDatabase(key.command('add'))
    .description('register a further key, before the gateway signs with it')
    .argument('<name>', 'the gateway', gatewayName)
    .requiredOption('--cert <file>', 'its new certificate, or public key, PEM')
    .action(async (name: string, { cert, ...database }: DatabaseChoice & { cert: string }) => {
      const added = readKeyFile(cert)
      await changing(database, (query) => addKey(query, name, added))
      say(`${name} may sign with key ${added.fingerprint}`)
    })
  askingForDatabase(key.command('retire'))
    .description('believe nothing of a key that is dated later than now')
    .argument('<name>', 'the gateway', gatewayName)
    .argument('<fingerprint>', 'its beginning is enough', fingerprintPrefix)
    .action(async (name: string, prefix: string, database: DatabaseChoice) => {
      const retired = await changing(database, (query) => retireKey(query, name, prefix))
      say(`${name} signs no more with key ${retired}`)
    })
}

function addStateCommands(gateways: Command): void {
  askingForDatabase(gateways.command('suspend'))
    .description('believe nothing that a gateway publishes from now on: it is set aside as dead letters')
    .argument('<name>', 'the gateway', gatewayName)
    .action(async (name: string, database: DatabaseChoice) => {
      await changing(database, (query) => setState(query, name, 'suspended'))
      say(`${name} is suspended: what it publishes becomes dead letters, PROVENANCE`)
    })
  askingForDatabase(gateways.command('resume'))
    .description('believe it again')
    .argument('<name>', 'the gateway', gatewayName)
    .action(async (name: string, database: DatabaseChoice) => {
      await changing(database, (query) => setState(query, name, 'active'))
      say(`${name} is active`)
    })
}

function fingerprintPrefix(text: string): string {
  if (/^[0-9a-f]{4,64}$/i.test(text)) return text
  throw new InvalidArgumentError('A fingerprint is hexadecimal: give 4 digits of it at the least.')
}
