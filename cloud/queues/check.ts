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
  const { management, clock, log } = options
  const stopping = new AbortController()
  let findings: QueueCheck['findings']
  const told = new Set<string>()
  let failed = false
  const startedMs = clock.monotonicMs()
  let toldUnknown = false

  /** @returns when to look again. */
  async function look(asked: Management): Promise<number> {
    const found: Finding[] = []
    let known = true
    for (const spec of options.queues()) {
      const actual = await asked.queue(spec.name, stopping.signal)
      if (actual === 'not known yet') known = false
      else if (actual !== undefined) found.push(...findingsOf(spec, actual))
    }
    // The whole picture, so that each finding is told once, with all its queues; but a server that keeps no statistics never has it.
    if (!known && clock.monotonicMs() - startedMs < patienceMs) return notKnownYetMs
    if (!known && !toldUnknown) {
      toldUnknown = true
      log.warn('RabbitMQ does not say of every queue which policies it has: these cannot be looked at')
    }
    tell(found)
    findings = { loss: count(found, 'loss'), harmless: count(found, 'harmless') }
    failed = false
    return againMs
  }

  function tell(found: readonly Finding[]): void {
    const kinds = new Map<string, Finding[]>()
    for (const one of found) kinds.set(kindOf(one), [...(kinds.get(kindOf(one)) ?? []), one])
    for (const [kind, alike] of kinds) {
      const [first] = alike
      if (first === undefined || told.has(kind)) continue
      const { code, severity, policies, message, hint } = first
      const names = alike.map(({ queue }) => queue)
      log.warn({ code, severity, policies, queues: names, hint }, message)
    }
    told.clear()
    for (const kind of kinds.keys()) told.add(kind)
  }

  async function run(asked: Management): Promise<void> {
    while (!stopping.signal.aborted) {
      let waitMs = afterFailureMs
      try {
        waitMs = await look(asked)
      } catch (error) {
        if (stopping.signal.aborted) return
        findings = undefined
        if (!failed) log.warn({ code: codeOf(error) }, messageOf(error))
        failed = true
      }
      await clock.sleep(waitMs, stopping.signal).catch(() => {})
    }
  }

  if (!management) {
    log.info('policies on the queues cannot be seen: see broker.management in docs/CONFIGURATION.md')
  }
  const running = management ? run(management) : Promise.resolve()
  return {
    get findings() {
      return findings
    },
    close() {
      stopping.abort()
      return running
    },
  }
}

function kindOf({ code, severity, policies, message }: Finding): string {
  return [code, severity, ...policies, message].join('\n')
}

function count(found: readonly Finding[], severity: Severity): number {
  return found.filter((finding) => finding.severity === severity).length
}
