import type { Outbound } from '../../../cloud/replays/outbound.ts'
import { TidegateError } from '../../../src/errors.ts'
import type { Chance } from '../plan/chance.ts'
import type { Settings } from '../plan/settings.ts'
import type { SimulatedBroker } from './broker.ts'
import type { Journal } from './journal.ts'
import { lookedAfter } from './operator.ts'
import type { SimulatedProcess } from './process.ts'
import type { Truth } from './truth.ts'

export interface OutboundParts {
  random: Chance
  broker: SimulatedBroker
  truth: Truth
  settings: Settings
  journal: Journal
}

/** Straight to the queue of the letter's group, or to nobody. */
export function outboundFor(
  process: SimulatedProcess,
  { broker, random, settings, truth, journal }: OutboundParts,
): Pick<Outbound, 'send'> {
  return {
    async send(target, { body, headers, properties }) {
      if (target.kind !== 'queue') throw new Error('nothing is admitted here')
      await process.step('replay', random.between(0.1, settings.latencyMsMax))
      truth.retried.add(`${lookedAfter} ${body.toString()}`)
      if (!broker.up) throw unproven('connection refused')
      const message = { body, headers, properties: { ...properties } }
      const answer = broker.publish({ exchange: '', routingKey: target.queue, ...message })
      if (answer !== 'routed') throw unproven(answer)
      journal.count('letter-replayed')
      if (broker.letterConfirmsToLose > 0) {
        broker.letterConfirmsToLose -= 1
        throw unproven('no confirm')
      }
      await process.step('replay confirmed', random.between(0.1, settings.latencyMsMax))
    },
  }
}

function unproven(message: string): TidegateError {
  return new TidegateError('PUBLISH_UNPROVEN', { message, retryable: true, hint: '' })
}
