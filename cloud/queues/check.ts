import type { Clock } from '../../src/clock.ts'
import { codeOf, messageOf } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { Management } from './management.ts'
import { type Finding, findingsOf, type Severity } from './findings.ts'
import type { QueueSpec } from '../amqp/topology.ts'

export interface QueueCheckOptions {
  /** Without it nothing can be seen. */
  management: Management | undefined
  queues(): readonly QueueSpec[]
  clock: Clock
  log: Logger
}

/** Compares what is in effect for every queue with what Tidegate needs, at the start and from time to time. */
export interface QueueCheck {
  /** By severity; undefined as long as nothing could be seen. */
  readonly findings: Readonly<Record<Severity, number>> | undefined
  close(): Promise<void>
}

const againMs = 600_000
const afterFailureMs = 60_000
/** The broker tells its HTTP API of a queue's policies every five seconds. */
const notKnownYetMs = 2_000
const patienceMs = 60_000

/** Never a reason not to run: what is found is logged once, and counted. */
export function startQueueCheck(options: QueueCheckOptions): QueueCheck {
  const { management, log } = options
  if (management) return new RunningCheck(management, options)
  log.info('policies on the queues cannot be seen: see broker.management in docs/CONFIGURATION.md')
  return { findings: undefined, close: async () => {} }
}

class RunningCheck implements QueueCheck {
  readonly #management: Management
  readonly #options: Omit<QueueCheckOptions, 'management'>
  readonly #stopping = new AbortController()
  readonly #startedMs: number
  readonly #running: Promise<void>
  /** The kinds of findings that the last look told of. */
  readonly #told = new Set<string>()
  #toldUnknown = false
  #failed = false
  #findings: QueueCheck['findings']

  constructor(management: Management, options: Omit<QueueCheckOptions, 'management'>) {
    this.#management = management
    this.#options = options
    this.#startedMs = options.clock.monotonicMs()
    this.#running = this.#run()
  }

  get findings(): QueueCheck['findings'] {
    return this.#findings
  }

  close(): Promise<void> {
    this.#stopping.abort()
    return this.#running
  }

  async #run(): Promise<void> {
    const { clock, log } = this.#options
    const { signal } = this.#stopping
    while (!signal.aborted) {
      let waitMs = afterFailureMs
      try {
        waitMs = await this.#look()
      } catch (error) {
        if (signal.aborted) return
        this.#findings = undefined
        if (!this.#failed) log.warn({ code: codeOf(error) }, messageOf(error))
        this.#failed = true
      }
      await clock.sleep(waitMs, signal).catch(() => {})
    }
  }

  /** @returns when to look again. */
  async #look(): Promise<number> {
    const { clock, log } = this.#options
    const found: Finding[] = []
    let known = true
    for (const spec of this.#options.queues()) {
      const actual = await this.#management.queue(spec.name, this.#stopping.signal)
      if (actual === 'not known yet') known = false
      else if (actual !== undefined) found.push(...findingsOf(spec, actual))
    }
    // The whole picture, so that each finding is told once, with all its queues; but a server that keeps no statistics never has it.
    if (!known && clock.monotonicMs() - this.#startedMs < patienceMs) return notKnownYetMs
    if (!known && !this.#toldUnknown) {
      this.#toldUnknown = true
      log.warn('RabbitMQ does not say of every queue which policies it has: these cannot be looked at')
    }
    this.#tell(found)
    this.#findings = { loss: count(found, 'loss'), harmless: count(found, 'harmless') }
    this.#failed = false
    return againMs
  }

  #tell(found: readonly Finding[]): void {
    const kinds = new Map<string, Finding[]>()
    for (const one of found) kinds.set(kindOf(one), [...(kinds.get(kindOf(one)) ?? []), one])
    for (const [kind, alike] of kinds) {
      const [first] = alike
      if (first === undefined || this.#told.has(kind)) continue
      const { code, severity, policies, message, hint } = first
      const queues = alike.map(({ queue }) => queue)
      this.#options.log.warn({ code, severity, policies, queues, hint }, message)
    }
    this.#told.clear()
    for (const kind of kinds.keys()) this.#told.add(kind)
  }
}

function kindOf({ code, severity, policies, message }: Finding): string {
  return [code, severity, ...policies, message].join('\n')
}

function count(found: readonly Finding[], severity: Severity): number {
  return found.filter((finding) => finding.severity === severity).length
}
