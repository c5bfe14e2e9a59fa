import { cloudLedger, type Event, isSystemType, rejectedType } from '../../src/contract/event.ts'
import { TidegateError } from '../../src/errors.ts'
import type { Delivery } from '../amqp/delivery.ts'
import type { Registry } from './registry.ts'

/** Why an event is not believed to come from where it says (G9), or undefined. */
export type Provenance = (event: Event, delivery: Published) => TidegateError | undefined

export type Published = Pick<Delivery, 'exchange' | 'publisher'>

export interface ProvenanceOptions {
  /** Which users of the broker publish for a gateway; by default the one that is named as it. */
  users: Readonly<Record<string, readonly string[]>>
  /** What becomes of an event of which the broker does not say who published it. */
  unvouched: 'refuse' | 'accept'
  /** What becomes of an event of a gateway that nobody has registered. */
  unknown: 'accept' | 'refuse'
  /** The user of the broker that the cloud itself is: in the cloud's own ledger nobody else is believed, whatever else is let in. */
  ownUser: string | undefined
  /** Asked for each event. */
  registry: () => Pick<Registry, 'stateOf'>
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
 * Compares what an event says with what the broker vouches for. What comes by the default exchange was let in before, and comes back
 * from a rung, or an operator has put it into the queue: no gateway has a right to that exchange.
 */
export function provenance(options: ProvenanceOptions): Provenance {
  const { users, unvouched, unknown, ownUser, registry } = options
  return (event, delivery) => {
    const contradiction = contradictionIn(event)
    if (contradiction !== undefined) return contradiction
    if (delivery.exchange === '') return undefined
    const { gateway } = event
    const named = Object.hasOwn(users, gateway) ? users[gateway] : undefined
    if (gateway === cloudLedger) {
      const own = named ?? (ownUser === undefined ? [] : [ownUser])
      return own.includes(delivery.publisher ?? '') ? undefined : notTheCloud(delivery.publisher)
    }
    const state = registry().stateOf(gateway)
    if (state === 'suspended') return suspended(gateway)
    if (state === undefined && unknown === 'refuse') return unregistered(gateway)
    const { publisher } = delivery
    if (publisher === undefined) return unvouched === 'accept' ? undefined : nobodyVouches(gateway)
    return (named ?? [gateway]).includes(publisher) ? undefined : another(gateway, publisher)
  }
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

function refusal(message: string, hint: string): TidegateError {
  return new TidegateError('PROVENANCE', { message, retryable: false, hint })
}
