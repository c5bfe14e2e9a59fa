import type { Clock } from '../../src/clock.ts'
import type { KillTarget, PlannedFault } from './plan.ts'
import type { Link, LinkMode } from '../stack/link.ts'

/** A link that is slow enough to see: a bad mobile connection. */
export const slowMode = { kind: 'slow', latencyMs: 300, bytesPerSecond: 50_000 } as const

/** Something done to the system on purpose. Times are ms from the start of the run. */
export interface FaultRecord {
  kind: 'down' | 'stalled' | 'slow' | 'kill'
  target: 'uplink' | 'edge' | 'cloud' | 'broker' | 'database'
  fromMs: number
  /** When what was taken away was there again. */
  untilMs: number
}

const faultNames: Record<FaultRecord['kind'], string> = {
  down: 'down',
  stalled: 'half-open',
  slow: 'slow',
  kill: 'kill -9',
}

/** `edge kill -9`: what was done, for a reader of the report. */
export function nameRecord({ kind, target }: FaultRecord): string {
  return `${target} ${faultNames[kind]}`
}

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

export interface SaboteurOptions {
  stack: Breakable
  clock: Clock
  /** The clock's monotonic reading at the start of the run. */
  startedAtMs: number
}

/** Does faults to a stack and keeps account of them. */
export function createSaboteur(options: SaboteurOptions): Saboteur {
  return new KeptSaboteur(options)
}

class KeptSaboteur implements Saboteur {
  readonly #options: SaboteurOptions
  readonly #done: FaultRecord[] = []
  readonly #lasting = new Set<FaultRecord>()
  readonly #killed = new Map<Victim, FaultRecord>()
  readonly #listeners: ((text: string) => void)[] = []
  #killing: Promise<void> = Promise.resolve()
  #linkFault: FaultRecord | undefined

  constructor(options: SaboteurOptions) {
    this.#options = options
  }

  async inject(fault: PlannedFault, signal: AbortSignal): Promise<void> {
    if (fault.kind === 'kill') {
      const turn = this.#killing.then(() => this.#kill(fault.target, fault.forMs, signal))
      this.#killing = turn.catch(() => undefined)
      return turn
    }
    this.setLink(fault.mode)
    await this.#options.clock.sleep(fault.forMs, signal)
    this.setLink({ kind: 'up' })
  }

  setLink(mode: LinkMode): void {
    const { link } = this.#options.stack
    if (!link) {
      this.#say('the broker was given as amqps://: its uplink passes no link of ours')
      return
    }
    if (this.#linkFault) this.#end(this.#linkFault)
    this.#linkFault = mode.kind === 'up' ? undefined : this.#begin(mode.kind, 'uplink')
    link.set(mode)
    this.#say(linkWords[mode.kind])
  }

  async restore(signal: AbortSignal): Promise<void> {
    if (this.#linkFault) this.setLink({ kind: 'up' })
    await this.#killing
    for (const [victim, record] of this.#killed) await this.#bringBack(victim, record, signal)
  }

  records(): FaultRecord[] {
    return this.#done.map((record) =>
      this.#lasting.has(record) ? { ...record, untilMs: this.#elapsedMs() } : { ...record },
    )
  }

  onChange(listener: (text: string) => void): void {
    this.#listeners.push(listener)
  }

  async #kill(target: KillTarget, forMs: number, signal: AbortSignal): Promise<void> {
    const { stack, clock } = this.#options
    const victim = victimOf(stack, target)
    if (!victim) {
      this.#say(`the ${target} was given, and is not ours to kill`)
      return
    }
    signal.throwIfAborted()
    const record = this.#begin('kill', target)
    this.#say(`kill -9 of the ${target}`)
    this.#killed.set(victim, record)
    await victim.kill('SIGKILL')
    await clock.sleep(forMs, signal)
    await this.#bringBack(victim, record, signal)
  }

  async #bringBack(victim: Victim, record: FaultRecord, signal: AbortSignal): Promise<void> {
    await victim.start(signal)
    this.#killed.delete(victim)
    this.#end(record)
    this.#say(`the ${record.target} is back after ${((record.untilMs - record.fromMs) / 1000).toFixed(1)} s`)
  }

  #begin(kind: FaultRecord['kind'], target: FaultRecord['target']): FaultRecord {
    const record: FaultRecord = { kind, target, fromMs: this.#elapsedMs(), untilMs: 0 }
    this.#done.push(record)
    this.#lasting.add(record)
    return record
  }

  #end(record: FaultRecord): void {
    record.untilMs = this.#elapsedMs()
    this.#lasting.delete(record)
  }

  #elapsedMs(): number {
    const { clock, startedAtMs } = this.#options
    return Math.round(clock.monotonicMs() - startedAtMs)
  }

  #say(text: string): void {
    for (const listener of this.#listeners) listener(text)
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
