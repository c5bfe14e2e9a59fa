import { cloudLedger, type Event, isSystemType, rejectedType } from '../../src/contract/event.ts'
import { headers as names, wire } from '../../src/contract/wire.ts'
import { TidegateError } from '../../src/errors.ts'
import type { Delivery } from '../amqp/delivery.ts'
import type { RegisteredDevices } from './devices.ts'
import type { Registry } from './registry.ts'

/** Why an event is not believed to come from where it says (G9), or undefined. */
export type Provenance = (event: Event, delivery: Published) => TidegateError | undefined

export type Published = Pick<Delivery, 'exchange' | 'publisher'> & Partial<Pick<Delivery, 'headers'>>

export interface ProvenanceOptions {
  /** Which users of the broker publish for a gateway; by default the one that is named as it. */
  users: Readonly<Record<string, readonly string[]>>
  /** What becomes of an event of which the broker does not say who published it. */
  unvouched: 'refuse' | 'accept'
  /** What becomes of an event of a gateway that nobody has registered. */
  unknown: 'accept' | 'refuse'
  /** What becomes of what devices say through a gateway of which nobody has said of which devices it may speak. */
  withoutDevices: 'accept' | 'refuse'
  /** The user of the broker that the cloud itself is: in the cloud's own ledger nobody else is believed, whatever else is let in. */
  ownUser: string | undefined
  /** Asked for each event. */
  registry: () => Pick<Registry, 'stateOf'>
  /** Asked for each event of a device. */
  devices: () => Pick<RegisteredDevices, 'maySpeakFor'>
}

/**
 * Before anybody is registered, to refuse whoever is not would make every event a dead letter.
 * @throws TidegateError `GATEWAY_UNKNOWN`
 */
export function requireRegistered(
  unknown: ProvenanceOptions['unknown'],
  { gateways }: Pick<Registry, 'gateways'>,
): void {
  if (unknown === 'accept' || gateways.length > 0) return
  throw new TidegateError('GATEWAY_UNKNOWN', {
    message: 'gateways.unknown is refuse, and no gateway is registered: every event would be a dead letter',
    retryable: false,
    hint: 'register the gateways first (tidegate gateways add NAME --cert FILE), with gateways.unknown: accept until all are',
  })
}

/**
 * Before any device is registered, to refuse what comes through gateways without devices would make every reading a dead letter.
 * @throws TidegateError `GATEWAY_DEVICES`
 */
export function requireDevices(
  withoutDevices: ProvenanceOptions['withoutDevices'],
  { size }: Pick<RegisteredDevices, 'size'>,
): void {
  if (withoutDevices === 'accept' || size > 0) return
  throw new TidegateError('GATEWAY_DEVICES', {
    message:
      'gateways.withoutDevices is refuse, and of no gateway devices are registered: every reading would be a dead letter',
    retryable: false,
    hint: "register them first (tidegate gateways devices add NAME 'line-3-*'), with gateways.withoutDevices: accept until all gateways have theirs",
  })
}

/**
 * Compares what an event says with what the broker vouches for. What comes by the default exchange was let in before, and comes back
 * from a rung, or an operator has put it into the queue: no gateway has a right to that exchange. But of a dead letter that comes back
 * and was never asked, because its message could not be read then or was not believed, the question is asked now, of whoever published
 * it first.
 */
export function provenance(options: ProvenanceOptions): Provenance {
  return (event, delivery) => {
    const contradiction = contradictionIn(event)
    if (contradiction !== undefined) return contradiction
    const published = delivery.exchange === '' ? unvettedIn(delivery) : delivery
    if (published === undefined) return undefined
    if (event.gateway === cloudLedger) return strangerIn(published, options)
    return impostureIn(event.gateway, published, options) ?? inventionIn(event, options)
  }
}

/** As it was published first, if it was never let in. */
function unvettedIn({ headers = {} }: Published): Published | undefined {
  if (headers[names.unvetted] !== true) return undefined
  const user = headers[names.originalUser]
  return { exchange: wire.exchange, publisher: typeof user === 'string' ? user : undefined }
}

/** In the cloud's own ledger its own user alone is believed. */
function strangerIn(
  { publisher }: Published,
  { users, ownUser }: ProvenanceOptions,
): TidegateError | undefined {
  const allowed = Object.hasOwn(users, cloudLedger) ? users[cloudLedger] : [ownUser]
  return publisher !== undefined && allowed?.includes(publisher) ? undefined : notTheCloud(publisher)
}

/** Whether the gateway is one that is listened to, and has published it. */
function impostureIn(
  gateway: string,
  { publisher }: Published,
  { users, unvouched, unknown, registry }: ProvenanceOptions,
): TidegateError | undefined {
  const state = registry().stateOf(gateway)
  if (state === 'suspended') return suspended(gateway)
  if (state === undefined && unknown === 'refuse') return unregistered(gateway)
  if (publisher === undefined) return unvouched === 'accept' ? undefined : nobodyVouches(gateway)
  const allowed = Object.hasOwn(users, gateway) ? (users[gateway] ?? []) : [gateway]
  return allowed.includes(publisher) ? undefined : another(gateway, publisher)
}

/** Whether the gateway may speak of the device. Of its own ledger it always may. */
function inventionIn(
  { source, gateway, partitionkey: device }: Event,
  { withoutDevices, devices }: ProvenanceOptions,
): TidegateError | undefined {
  if (!source.startsWith('/devices/')) return undefined
  const may = devices().maySpeakFor(gateway, device)
  if (may === false) return notItsDevice(gateway, device)
  return may === undefined && withoutDevices === 'refuse' ? noDevicesOf(gateway, device) : undefined
}

/** Believes what stands in each event, as long as it does not contradict itself. */
export const selfConsistent: Provenance = (event) => contradictionIn(event)

/** A device speaks of itself and is its own partition key, a gateway of its ledger, and neither in the other's words. */
function contradictionIn({ source, type, partitionkey, gateway }: Event): TidegateError | undefined {
  const [, side, name] = source.split('/')
  if (name !== partitionkey) return contradicts(`its partitionkey is ${partitionkey}, its source ${source}`)
  const speaksAsGateway = isSystemType(type) && type !== rejectedType
  if (speaksAsGateway !== (side === 'gateways')) return contradicts(`${source} does not speak of ${type}`)
  if (side === 'gateways' && name !== gateway) return contradicts(`${source} speaks through ${gateway}`)
  return undefined
}

function contradicts(message: string): TidegateError {
  return refusal(message, 'no gateway of Tidegate writes such an event: see who publishes it')
}

function notTheCloud(publisher: string | undefined): TidegateError {
  return refusal(
    `the event says it is of the cloud's own ledger, and ${publisher ?? 'nobody the broker vouches for'} published it`,
    `no gateway may be called ${cloudLedger}; if the cloud publishes as that user, name it in gateways.users`,
  )
}

function suspended(gateway: string): TidegateError {
  return refusal(
    `the event says it comes from ${gateway}, which is suspended`,
    `tidegate gateways resume ${gateway} lets it in again; then replay the dead letters that are to be believed`,
  )
}

function unregistered(gateway: string): TidegateError {
  return refusal(
    `the event says it comes from ${gateway}, and no gateway is registered as that`,
    `if there is such a gateway, register it (tidegate gateways add ${gateway} --cert FILE) and replay its dead letters; else ask who has this user’s password`,
  )
}

function nobodyVouches(gateway: string): TidegateError {
  return refusal(
    `the event says it comes from ${gateway}, and its message has no user_id, so that the broker vouches for nobody`,
    'update that gateway, or set gateways.unvouched: accept until all are; see docs/OPERATIONS.md, Provenance',
  )
}

function another(gateway: string, publisher: string): TidegateError {
  return refusal(
    `the event says it comes from ${gateway}, and ${publisher} published it`,
    'if that user publishes for this gateway, name it in gateways.users; else ask who has its password',
  )
}

function notItsDevice(gateway: string, device: string): TidegateError {
  return refusal(
    `the event speaks of ${device}, and ${device} is none of the devices that ${gateway} may speak of`,
    `if the device is connected there: tidegate gateways devices add ${gateway} ${device}, then replay the dead letters that are to be believed; else see who runs ${gateway}`,
  )
}

function noDevicesOf(gateway: string, device: string): TidegateError {
  return refusal(
    `the event speaks of ${device}, and nobody has said of which devices ${gateway} may speak`,
    `tidegate gateways devices add ${gateway} ${device} (or 'the beginning of IDs*') says it, then replay the dead letters; or set gateways.withoutDevices: accept`,
  )
}

function refusal(message: string, hint: string): TidegateError {
  return new TidegateError('PROVENANCE', { message, retryable: false, hint })
}
