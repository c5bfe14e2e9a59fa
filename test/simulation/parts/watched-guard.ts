import { GroupGate } from '../../../cloud/protection/gate.ts'
import { Guard } from '../../../cloud/protection/guard.ts'
import { startWatching } from '../../../cloud/protection/watch.ts'
import type { Logger } from '../../../src/log.ts'
import type { SimulatedDatabase } from './database.ts'
import type { Journal } from './journal.ts'
import { lookedAfter, type Operator } from './operator.ts'
import type { SimulatedProcess } from './process.ts'
import type { Scheduler } from './scheduler.ts'
import { statesFor } from './workplace.ts'

export interface WatchedGuardParts {
  database: SimulatedDatabase
  operator: Operator
  scheduler: Scheduler
  journal: Journal
  log: Logger
}

/** A guard of which it is looked at from outside whether what it says is done. */
export interface WatchedGuard {
  guard: Guard
  /** G5: of a group that is held, or that another instance tries, nothing begins. `beganAtMs`: the transaction in which something is handled. */
  mayHandle: (beganAtMs: number) => Promise<void>
  close(): Promise<void>
}

/** Its own word may be on its way when it is told once, or twice. */
const followsMax = 3

export function watchedGuard(
  instance: string,
  process: SimulatedProcess,
  { database, operator, scheduler, journal, log }: WatchedGuardParts,
): WatchedGuard {
  const { clock } = process
  const states = statesFor(database, process, operator.states)
  const killSwitch = { after: 4, share: 0.5, windowMs: 20_000, pauseMs: 3_000 }
  const pace = { ratePerSecond: undefined, membersNow: () => 1 }
  const guard = new Guard({ group: lookedAfter, instance, states, killSwitch, ...pace, clock, log })
  watchTrials(guard, (detail) => journal.violate('G5', `${instance} ${detail}`))
  /** When it was told of its group, and had done what follows of it: by true time, the newest last. */
  const followed: { toldMs: number; doneMs: number }[] = []
  let closedSinceMs: number | undefined
  const follow = guard.follow.bind(guard)
  guard.follow = async (state, nowMs, askedAtMs) => {
    await follow(state, nowMs, askedAtMs)
    followed.push({ toldMs: nowMs, doneMs: scheduler.nowMs })
    if (followed.length > followsMax) followed.shift()
    closedSinceMs = guard.gate.closed ? (closedSinceMs ?? scheduler.nowMs) : undefined
  }
  const watching = startWatching({ states, guards: [{ guard }], everyMs: 2_000, clock, log })
  return {
    guard,
    async mayHandle(beganAtMs) {
      if (guard.gate.closed && closedSinceMs !== undefined && beganAtMs > closedSinceMs)
        journal.violate('G5', `${instance} handles an event, and its gate is closed`)
      const { states: now } = await operator.states.read()
      const held = now.find(
        ({ group, state, actor }) => group === lookedAfter && (state !== 'trial' || actor !== instance),
      )
      if (held === undefined) return
      const told = followed.filter(({ toldMs, doneMs }) => toldMs > held.sinceMs && doneMs < beganAtMs)
      if (told.length === followsMax)
        journal.violate('G5', `${instance} handles an event of a group that is ${held.state}`)
    },
    close: () => watching.close(),
  }
}

/** In a step of a trial no more events are under way than it has. */
function watchTrials({ gate }: Guard, violate: (detail: string) => void): void {
  if (!(gate instanceof GroupGate)) return
  const [begin, open, enter, leave] = [
    gate.try.bind(gate),
    gate.open.bind(gate),
    gate.enter.bind(gate),
    gate.leave.bind(gate),
  ]
  let size = Infinity
  let underWay = 0
  gate.try = (wanted) => {
    // What is under way from before is not of this step.
    ;[size, underWay] = [wanted, 0]
    begin(wanted)
  }
  gate.open = () => {
    ;[size, underWay] = [Infinity, 0]
    open()
  }
  gate.enter = (wanted, signal, orClosed) => {
    const entered = enter(wanted, signal, orClosed)
    // Noted before whoever has asked goes on.
    return entered.then((count) => {
      underWay += count
      if (count > 0 && underWay > size) violate(`has ${underWay} events under way in a step of ${size}`)
      return count
    })
  }
  gate.leave = (count, tried) => {
    underWay = Math.max(0, underWay - count)
    leave(count, tried)
  }
}
