import type { Command } from 'commander'
import { askingForDatabase, type DatabaseChoice } from '../database-choice.ts'
import { gatewayName, reading, say } from './command-registry.ts'
import { type RegisteredDevices, registeredDevices } from './devices.ts'
import { readDevices } from './devices-postgres.ts'
import type { Query } from './query.ts'
import type { GatewayKey, RegisteredGateway, Registry } from './registry.ts'
import { readRegistry } from './registry-postgres.ts'

const patternsShownMax = 10

interface Listing {
  registry: Registry
  devices: RegisteredDevices
  /** Those that were asked for. */
  gateways: readonly RegisteredGateway[]
}

/** `tidegate gateways list` */
export function addList(gateways: Command): void {
  askingForDatabase(gateways.command('list'))
    .description('show who is registered, with keys, devices and former names')
    .option('--device <id>', 'only who may speak of this device', gatewayName)
    .option('--json', 'one JSON object, for programs, with every device')
    .action(async ({ json, device, ...database }: DatabaseChoice & { json?: true; device?: string }) => {
      const listing = await reading(database, (query) => readListing(query, device))
      if (json) return say(JSON.stringify(asJson(listing)))
      say(listing.gateways.length > 0 ? format(listing) : nobody(device))
    })
}

async function readListing(query: Query, device: string | undefined): Promise<Listing> {
  const registry = await readRegistry(query)
  const devices = registeredDevices(await readDevices(query, registry.gateways), registry.names)
  const gateways = registry.gateways.filter(
    ({ name }) => device === undefined || devices.maySpeakFor(name, device) !== false,
  )
  return { registry, devices, gateways }
}

function nobody(device: string | undefined): string {
  return device === undefined ? 'no gateway is registered' : `no registered gateway may speak of ${device}`
}

function format({ registry, devices, gateways }: Listing): string {
  return gateways
    .flatMap(({ name, state, sinceMs }) => [
      `${name}  ${state} since ${timeOf(sinceMs)}${formerly(registry, name)}`,
      ...registry.keysOf(name).map((key) => `  key ${formatKey(key)}`),
      ...formatDevices(devices.patternsOf(name)),
    ])
    .join('\n')
}

function formatDevices(patterns: readonly string[]): string[] {
  if (patterns.length === 0) return []
  const more = patterns.length - patternsShownMax
  const shown = patterns.slice(0, patternsShownMax).join(', ')
  return [`  devices ${shown}${more > 0 ? ` and ${more} more (--json has them)` : ''}`]
}

function formerly({ names }: Registry, name: string): string {
  const former = names.filter(({ gateway }) => gateway === name).map((known) => known.former)
  return former.length === 0 ? '' : `, was called ${former.join(', ')}`
}

function formatKey({ fingerprint, sinceMs, untilMs }: GatewayKey): string {
  return `${fingerprint}  since ${timeOf(sinceMs)}${untilMs === null ? '' : `, retired ${timeOf(untilMs)}`}`
}

function asJson({ registry, devices, gateways }: Listing): object {
  return {
    gateways: gateways.map(({ name, state, sinceMs }) => ({
      name,
      state,
      sinceMs,
      keys: registry.keysOf(name),
      devices: devices.patternsOf(name),
    })),
    names: registry.names,
  }
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString()
}
