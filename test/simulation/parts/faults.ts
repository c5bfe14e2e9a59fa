import { formerDeadQueue } from '../../../src/contract/wire.ts'
import type { Chance } from '../plan/chance.ts'
import type { SimulatedBroker } from './broker.ts'
import type { Cloud } from './cloud.ts'
import type { SimulatedDatabase } from './database.ts'
import type { Device } from './devices.ts'
import type { Fault } from '../plan/fault-kinds.ts'
import type { Gateway } from './gateway.ts'
import type { Intruder } from './intruder.ts'
import type { Journal } from './journal.ts'
import { lookedAfter, type Operator } from './operator.ts'
import type { Scheduler } from './scheduler.ts'
import type { Uplink } from './uplink.ts'

export interface Stage {
  scheduler: Scheduler
  journal: Journal
  random: Chance
  gateway: Gateway
  uplink: Uplink
  broker: SimulatedBroker
  database: SimulatedDatabase
  clouds: readonly Cloud[]
  devices: readonly Device[]
  intruder: Intruder
  operator: Operator
}

/** Counted where they strike, not where they are ordered. */
const countedElsewhere = new Set(
  `write-lost write-landed read-failed confirm-lost confirm-late nack unroutable ack-lost siding-lost siding-unknown
  commit-lost commit-unknown edge-kill power-cut log-torn cloud-kill forgery
  replay replay-stop pause former-letter ack-swallowed`.split(/\s+/),
)

/** Makes a fault happen, and, after its time, end. */
export function inflict(fault: Fault, stage: Stage): void {
  const { scheduler, journal, gateway, uplink, broker, database, random } = stage
  const { kind, forMs, times } = fault
  const cloud = random.pick(stage.clouds)
  const later = (end: () => void): void => {
    scheduler.after(forMs, end)
  }
  if (!countedElsewhere.has(kind)) journal.count(kind)
  journal.tell('FAULT', `${fault.n} ${kind} for ${forMs} ms, times ${times}`)
  switch (kind) {
    case 'edge-kill':
    case 'power-cut':
      gateway.process?.crashAfter(times, (where) => {
        journal.count(kind)
        gateway.crash(kind === 'power-cut', forMs, where)
      })
      break
    case 'log-torn':
      gateway.process?.crashAfter(times, (where) => {
        journal.count(kind)
        gateway.crash(false, forMs, where)
        gateway.disk.tearNewest()
      })
      break
    case 'boot-1970': {
      gateway.crash(true, 1000, 'its plug')
      const wrongByMs = -(Date.UTC(2026, 0, 1) + scheduler.nowMs) - gateway.wall.offsetMs
      gateway.jump(wrongByMs)
      later(() => gateway.jump(-gateway.wall.offsetMs))
      break
    }
    case 'edge-stop':
      void gateway.stop(forMs)
      break
    case 'edge-freeze':
      gateway.process?.freeze(forMs)
      break
    case 'write-lost':
      gateway.disk.writesToLose += times
      break
    case 'write-landed':
      gateway.disk.writesToLand += times
      break
    case 'read-failed':
      gateway.disk.readsToFail += times
      break
    case 'disk-full':
      gateway.disk.fill()
      later(() => gateway.disk.empty())
      break
    case 'disk-slow':
      gateway.disk.slow = true
      later(() => (gateway.disk.slow = false))
      break
    case 'uplink-cut':
      uplink.cut()
      later(() => (uplink.down = false))
      break
    case 'half-open':
      uplink.goSilent()
      later(() => (uplink.silent = false))
      break
    case 'confirm-lost':
      uplink.confirmsToLose += times
      break
    case 'confirm-late':
      uplink.confirmsToDelay = { count: times, byMs: forMs }
      break
    case 'nack':
      uplink.nacks += times
      break
    case 'unroutable':
      broker.unroutable = true
      later(() => (broker.unroutable = false))
      break
    case 'length-policy':
      broker.lengthLimit = times
      later(() => (broker.lengthLimit = undefined))
      break
    case 'blocked':
      broker.blocked = true
      later(() => (broker.blocked = false))
      break
    case 'broker-restart':
      broker.restart(forMs)
      break
    case 'ack-lost':
      broker.acksToLose += times
      break
    case 'channel-cut':
      cloud.cutChannel(times)
      break
    case 'step-back':
      cloud.stepBack(times)
      break
    case 'siding-lost':
      broker.lettersToRefuse += times
      break
    case 'siding-unknown':
      broker.letterConfirmsToLose += times
      break
    case 'cloud-kill':
      cloud.process?.crashAfter(times, (where) => {
        journal.count(kind)
        cloud.crash(forMs, where)
      })
      break
    case 'cloud-stop':
      void cloud.stop(forMs)
      break
    case 'cloud-freeze':
      cloud.freeze(forMs)
      break
    case 'database-outage':
      database.fail(forMs)
      break
    case 'commit-lost':
      database.commitsToLose += times
      break
    case 'commit-unknown':
      database.commitsToHide += times
      break
    // The clock of a machine that is off does not jump; it is wrong at the next boot, which is `boot-1970`.
    case 'clock-forward':
      if (gateway.process?.alive) gateway.jump(forMs)
      break
    case 'clock-back':
      if (gateway.process?.alive) gateway.jump(-forMs)
      break
    case 'forgery':
      stage.intruder.forge(times)
      break
    case 'replay':
      stage.operator.replay()
      break
    case 'replay-stop':
      stage.operator.stopReplay()
      break
    case 'mend':
      stage.operator.mended = true
      break
    case 'pause':
      stage.operator.pause(forMs)
      break
    case 'fleet-fails':
      stage.operator.failing = true
      later(() => (stage.operator.failing = false))
      break
    case 'former-letter':
      stage.operator.writeFormerLetters(times)
      break
    case 'ack-swallowed':
      broker.swallowAcks(formerDeadQueue(lookedAfter), forMs)
      break
    case 'device-drop':
      stage.devices[times % stage.devices.length]?.drop(forMs)
      break
  }
}

/** Everything works again, and what was ordered and did not strike is called off. */
export function heal({ gateway, uplink, broker, database, clouds, operator }: Stage): void {
  operator.heal()
  gateway.disk.heal()
  uplink.heal()
  broker.heal()
  database.heal()
  gateway.process?.crashAfter(Infinity, () => {})
  for (const cloud of clouds) cloud.process?.crashAfter(Infinity, () => {})
}
