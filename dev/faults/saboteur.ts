import type { Clock } from '../../src/clock.ts'
import type { KillTarget, PlannedFault } from './plan.ts'
import type { Link, LinkMode } from '../stack/link.ts'
import type { FaultRecord } from '../report/report.ts'

/** A link that is slow enough to see: a bad mobile connection. */
export const slowMode = { kind: 'slow', latencyMs: 300, bytesPerSecond: 50_000 } as const

export interface Saboteur {
  /**
   * Does it now; resolves when what was taken away is there again. Kills wait for one another. Rejects, leaving
   * things as they are (see `restore`), when `signal` is aborted.
   */
  inject(fault: PlannedFault, signal: AbortSignal): Promise<void>
  /** Sets the link now, as a person does with a key; an outage lasts until the link is up again. */
  setLink(mode: LinkMode): void
  /** Gives back whatever is still taken away: the link, and what was killed. @throws TidegateError as its start does */
  restore(signal: AbortSignal): Promise<void>
  /** What was done so far; what still lasts ends now. */
  records(): FaultRecord[]
  /** Called when something was done or has come back. */
  onChange(listener: (text: string) => void): void
}

/** What a stack shows of itself to who breaks it. */
export interface Breakable {
  /** Undefined where the uplink does not pass one. */
  link: Pick<Link, 'set'> | undefined
  edge: Victim
  clouds: readonly Victim[]
  /** Undefined where a server was given: it is not ours to kill. */
  rabbit: Victim | undefined
  postgres: Victim | undefined
}

interface Victim {
  kill(signal: 'SIGKILL'): Promise<void>
  start(signal?: AbortSignal): Promise<void>
}

/** Does faults to a stack and keeps account of them. */
export function createSaboteur(stack: Breakable, clock: Clock, startedAtMs: number): Saboteur {
  const done: FaultRecord[] = []
  const lasting = new Set<FaultRecord>()
  const killed = new Map<Victim, FaultRecord>()
  const listeners: ((text: string) => void)[] = []
  let killing: Promise<void> = Promise.resolve()
  let linkFault: FaultRecord | undefined

  const elapsedMs = (): number => Math.round(clock.monotonicMs() - startedAtMs)
  const say = (text: string): void => listeners.forEach((listener) => listener(text))

  function begin(kind: FaultRecord['kind'], target: FaultRecord['target']): FaultRecord {
    const record: FaultRecord = { kind, target, fromMs: elapsedMs(), untilMs: 0 }
    done.push(record)
    lasting.add(record)
    return record
  }
  function end(record: FaultRecord): void {
    record.untilMs = elapsedMs()
    lasting.delete(record)
  }

  function setLink(mode: LinkMode): void {
    if (!stack.link) {
      say('the broker was given as amqps://: its uplink passes no link of ours')
      return
    }
    if (linkFault) end(linkFault)
    linkFault = mode.kind === 'up' ? undefined : begin(mode.kind, 'uplink')
    stack.link.set(mode)
    say(linkWords[mode.kind])
  }

  async function kill(target: KillTarget, forMs: number, signal: AbortSignal): Promise<void> {
    const victim = victimOf(stack, target)
    if (!victim) {
      say(`the ${target} was given, and is not ours to kill`)
      return
    }
    signal.throwIfAborted()
    const record = begin('kill', target)
    say(`kill -9 of the ${target}`)
    killed.set(victim, record)
    await victim.kill('SIGKILL')
    await clock.sleep(forMs, signal)
    await bringBack(victim, record, signal)
  }

  async function bringBack(victim: Victim, record: FaultRecord, signal: AbortSignal): Promise<void> {
    await victim.start(signal)
    killed.delete(victim)
    end(record)
    say(`the ${record.target} is back after ${((record.untilMs - record.fromMs) / 1000).toFixed(1)} s`)
  }

  return {
    async inject(fault, signal) {
      if (fault.kind === 'kill') {
        const turn = killing.then(() => kill(fault.target, fault.forMs, signal))
        killing = turn.catch(() => undefined)
        return turn
      }
      setLink(fault.mode)
      await clock.sleep(fault.forMs, signal)
      setLink({ kind: 'up' })
    },
    setLink,
    async restore(signal) {
      if (linkFault) setLink({ kind: 'up' })
      await killing
      for (const [victim, record] of killed) await bringBack(victim, record, signal)
    },
    records: () =>
      done.map((record) => (lasting.has(record) ? { ...record, untilMs: elapsedMs() } : { ...record })),
    onChange: (listener) => listeners.push(listener),
  }
}

const linkWords: Record<LinkMode['kind'], string> = {
  up: 'the uplink is up again',
  down: 'the uplink is taken down',
  stalled: 'the uplink is half-open',
  slow: 'the uplink is slow',
}

function victimOf(stack: Breakable, target: KillTarget): Victim | undefined {
  switch (target) {
    case 'edge':
      return stack.edge
    case 'cloud':
      return stack.clouds[0]
    case 'broker':
      return stack.rabbit
    case 'database':
      return stack.postgres
  }
}
