import { encodeEvent, genesis } from '../../../src/contract/codec.ts'
import {
  formerDeadQueue,
  headers as names,
  partitionOf,
  partitionQueue,
  routingKey,
} from '../../../src/contract/wire.ts'
import type { GroupStates } from '../../../cloud/protection/group-states.ts'
import { type Clock } from '../../../src/clock.ts'
import { fakeGroupStates } from '../../support/fakes/group-states.ts'
import { types } from '../plan/schemas.ts'
import { gatewayName, type Settings } from '../plan/settings.ts'
import type { SimulatedBroker } from './broker.ts'
import type { SimulatedDatabase } from './database.ts'
import type { Journal } from './journal.ts'
import type { Scheduler } from './scheduler.ts'
import { startReplay } from './workplace.ts'

export interface OperatorParts {
  scheduler: Scheduler
  journal: Journal
  broker: SimulatedBroker
  database: SimulatedDatabase
  settings: Settings
}

/** The group that people look after; the others must do without. */
export const lookedAfter = 'effects'
const formerEpoch = '01JGFJJZ07TESTTESTTESTTEST'

/**
 * People, and what they have in their hands: they replay, stop, pause, and mend what a handler needs. And an instance of a former version,
 * which writes its letters into a queue.
 */
export class Operator {
  /** What nobody could do can be done from now on. */
  mended = false
  /** What the handler calls is down: it fails for whomever it is asked. */
  failing = false
  /** What all instances know of the groups, by true time. */
  readonly states: GroupStates
  /** Letters that a former version has written, by their text. */
  readonly former = new Set<string>()
  private readonly parts: OperatorParts
  private chain = genesis(gatewayName, formerEpoch)

  constructor(parts: OperatorParts) {
    this.parts = parts
    const { scheduler } = parts
    this.states = fakeGroupStates({ now: () => scheduler.nowMs } as Clock)
  }

  replay(): void {
    const { database, journal } = this.parts
    if (!database.up) return
    const { replay, total } = startReplay(database, lookedAfter)
    journal.count('replay')
    journal.tell('operator', `asks for replay ${replay} of ${total} letters`)
  }

  /** The newest. */
  stopReplay(): void {
    const { database, journal } = this.parts
    const record = [...database.replays.values()].at(-1)
    if (!database.up || record?.state !== 'running') return
    journal.count('replay-stop')
    record.state = 'stopping'
    if (record.claim === undefined) record.untilMs = -1
  }

  pause(forMs: number): void {
    const { scheduler, journal, database } = this.parts
    if (!database.up) return
    journal.count('pause')
    void this.states.pause({ group: lookedAfter, actor: 'ada', reason: 'repairs' })
    scheduler.after(forMs, () => this.resume())
  }

  resume(): void {
    void this.states.resume(lookedAfter)
  }

  writeFormerLetters(count: number): void {
    const { broker, journal, settings } = this.parts
    for (let n = 0; n < count && broker.up; n++) {
      const sequence = this.former.size + 1
      const device = settings.devices[0] ?? ''
      const time = new Date(0).toISOString()
      const event = {
        specversion: '1.0' as const,
        id: `former-${sequence}`,
        source: `/devices/${device}`,
        type: types.reading,
        time,
        recordedtime: time,
        datacontenttype: 'application/json' as const,
        partitionkey: device,
        gateway: gatewayName,
        epoch: formerEpoch,
        sequence,
        data: { value: sequence },
      }
      const { text, chain } = encodeEvent(event, this.chain)
      const partition = partitionOf(device, settings.partitions)
      const answer = broker.publish({
        exchange: '',
        routingKey: formerDeadQueue(lookedAfter),
        body: Buffer.from(text),
        properties: {},
        headers: {
          [names.errorCode]: 'ODD',
          [names.attempt]: 1,
          [names.originalUser]: gatewayName,
          [names.originalRoutingKey]: routingKey(partition, types.reading),
          [names.originalQueue]: partitionQueue(lookedAfter, partition),
        },
      })
      if (answer !== 'routed') return
      this.chain = chain
      this.former.add(text)
      journal.count('former-letter')
    }
  }

  /** Everything is mended, and nothing is held back. */
  heal(): void {
    if (!this.parts.settings.workplace) return
    this.mended = true
    this.failing = false
    this.resume()
  }
}
