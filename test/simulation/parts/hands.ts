import type { Outbox, Queued } from '../../../edge/outbox/outbox.ts'
import type { Journal } from './journal.ts'
import type { Settings } from '../plan/settings.ts'
import type { Scheduler } from './scheduler.ts'

export interface HandsParts {
  scheduler: Scheduler
  journal: Journal
  settings: Settings
}

/** What the forwarder has in its hands, and how fast the backlog came into them: seen at the door of the outbox. */
export class Hands {
  private readonly held = new Set<number>()
  /** Released, and still on the disk. */
  private readonly proven = new Set<number>()
  /** Given back since the outbox last wrote: what it is about to write may have been decided before. */
  private readonly givenBack = new Set<number>()
  /** The normal lane's events up to this one are the backlog. */
  private boundary = -1
  private backlogTaken = 0
  /** Of all looks so far the one that leaves the least room, as if the bucket had been full at time 0. */
  private leastRoom = Infinity
  private readonly parts: HandsParts

  constructor(parts: HandsParts) {
    this.parts = parts
  }

  /** Whether the outbox could not evict an event of the disk, as it decided on its newest write. */
  hold(position: number): boolean {
    return [this.held, this.proven, this.givenBack].some((positions) => positions.has(position))
  }

  /** A write of the outbox took effect. */
  landed(): void {
    this.givenBack.clear()
  }

  left(position: number): void {
    this.held.delete(position)
    this.proven.delete(position)
  }

  /** The outbox as the forwarder sees it. */
  watch(outbox: Outbox): Outbox {
    return {
      append: (submission, signal) => outbox.append(submission, signal),
      appendAll: (submissions, answered, signal) => outbox.appendAll(submissions, answered, signal),
      take: async (eventsMax) => {
        const askedMs = this.parts.scheduler.nowMs
        const events = await outbox.take(eventsMax)
        for (const { position } of events) this.held.add(position)
        this.checkPace(events, askedMs)
        return events
      },
      judgedBy: (schemas) => outbox.judgedBy(schemas),
      ready: (signal) => outbox.ready(signal),
      release: (events) => {
        for (const { position } of events) {
          if (this.held.delete(position)) this.proven.add(position)
        }
        return outbox.release(events)
      },
      rewind: () => {
        for (const position of this.held) this.givenBack.add(position)
        this.held.clear()
        this.boundary = -1
        outbox.rewind()
      },
      resumed: () => {
        const { catchUp, inOrderBelow } = this.parts.settings
        const { depth, lastSequence } = outbox.stats()
        if (catchUp === 'live-first' && depth.normal > inOrderBelow) this.boundary = lastSequence
        outbox.resumed()
      },
      stats: () => outbox.stats(),
      close: () => outbox.close(),
    }
  }

  /** G7: never more than the pace allows, from the beginning of any `take` to the end of any later one. */
  private checkPace(events: readonly Queued[], askedMs: number): void {
    const { eventsPerSecond: pace } = this.parts.settings
    if (pace === undefined) return
    const taken = events.filter(({ lane, sequence }) => lane === 'normal' && sequence <= this.boundary).length
    if (taken === 0) return
    this.leastRoom = Math.min(this.leastRoom, this.backlogTaken - (pace * askedMs) / 1000)
    this.backlogTaken += taken
    const over = this.backlogTaken - (pace * this.parts.scheduler.nowMs) / 1000 - this.leastRoom - pace
    if (over > 1e-6) {
      this.parts.journal.violate('G7', `${taken} events of the backlog at once, its pace is ${pace}/s`)
    }
  }
}
