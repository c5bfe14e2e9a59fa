import { codeOf } from '../../../src/errors.ts'
import type { Logger } from '../../../src/log.ts'
import { createAdmission } from '../../../edge/admission/admission.ts'
import { createSchemaCheck } from '../../../edge/admission/schema-check.ts'
import { forward } from '../../../edge/uplink/forwarder.ts'
import { createIngest, type Ingest } from '../../../edge/admission/ingest.ts'
import { silentIngestObserver } from '../../../edge/admission/observer.ts'
import type { CheckpointSigner } from '../../../edge/outbox/options.ts'
import { silentOutboxObserver } from '../../../edge/outbox/observer.ts'
import { silentForwarderObserver } from '../../../edge/uplink/observer.ts'
import type { Outbox } from '../../../edge/outbox/outbox.ts'
import { decodeHead } from '../../../edge/outbox/layout/head.ts'
import { headKey } from '../../../edge/outbox/layout/keys.ts'
import { openOutbox } from '../../../edge/outbox/open.ts'
import { createRoutes } from '../../../edge/admission/routes/routes.ts'
import { eventKey } from '../../../src/contract/event.ts'
import { testSigner } from '../../support/fakes/signer.ts'
import type { Chance } from '../plan/chance.ts'
import { GatewayDisk } from './gateway-disk.ts'
import { Hands } from './hands.ts'
import type { Journal } from './journal.ts'
import type { Submission } from '../../../edge/outbox/outbox.ts'
import { deviceMinimum, gatewayName, type Settings } from '../plan/settings.ts'
import { SimulatedProcess, type Wall } from './process.ts'
import type { Scheduler } from './scheduler.ts'
import { activeMs } from '../plan/plan.ts'
import { schemasOf, types } from '../plan/schemas.ts'
import type { Truth } from './truth.ts'
import type { Uplink } from './uplink.ts'

export interface GatewayParts {
  scheduler: Scheduler
  journal: Journal
  random: Chance
  truth: Truth
  settings: Settings
  uplink: Uplink
  log: Logger
}

/** The outbox looks at its clocks once a second, and then writes. */
const lookMs = 1500
const signMs = 5000

/** The gateway's key. */
export const gatewaySigner = testSigner(1)

/** The edge machine: its disk and wall clock outlive the program that runs on it. */
export class Gateway {
  readonly wall: Wall = { offsetMs: 0 }
  readonly disk: GatewayDisk
  process: SimulatedProcess | undefined
  /** Where devices connect, while the edge is up. */
  ingest: Ingest | undefined
  outbox: Outbox | undefined
  /** True times at which the wall clock was moved, and by how much. */
  readonly jumps: { atMs: number; byMs: number }[] = []
  private readonly parts: GatewayParts
  private readonly onDown = new Set<() => void>()
  private readonly onUp = new Set<() => void>()
  private stopping: AbortController | undefined
  private forwarding: Promise<void> | undefined
  private starting = 0
  /** Of the schemas that are kept on the machine. */
  private schemasRevision = 0

  constructor(parts: GatewayParts) {
    this.parts = parts
    this.disk = new GatewayDisk(parts)
  }

  get up(): boolean {
    return this.ingest !== undefined && this.process?.alive === true
  }

  /** Called once, when a program runs. */
  whenUp(listener: () => void): void {
    this.onUp.add(listener)
  }

  /** Called once, when the program that runs now is gone. */
  whenDown(listener: () => void): void {
    this.onDown.add(listener)
  }

  jump(byMs: number): void {
    const wrongerMs = Math.abs(this.wall.offsetMs + byMs) - Math.abs(this.wall.offsetMs)
    const head = decodeHead(this.disk.disk.get(headKey))
    if (byMs > 0 && wrongerMs > 0 && head?.undatedFrom !== null) this.parts.truth.clockWasLost = true
    this.wall.offsetMs += byMs
    this.jumps.push({ atMs: this.parts.scheduler.nowMs, byMs })
    this.parts.journal.tell('gateway', `wall clock jumps by ${Math.round(byMs / 1000)} s`)
  }

  start(): void {
    if (this.process?.alive) return
    const { scheduler, journal } = this.parts
    const process = new SimulatedProcess(`edge-${++this.starting}`, scheduler, this.wall)
    this.process = process
    journal.tell('edge', 'starts')
    void this.run(process).catch((error: unknown) => {
      if (!process.alive) return
      journal.tell('edge', `cannot start: ${codeOf(error)}`)
      if (!['STORE_UNAVAILABLE', 'OUTBOX_CLOSED'].includes(codeOf(error))) {
        journal.violate('error', `the edge ended with ${String(error)}`)
      }
      this.crash(false, 2000, 'exit')
    })
  }

  /** Ends the program as it stands; the machine too, if it is a power cut. */
  crash(powerCut: boolean, offMs: number, where: string): void {
    const { process } = this
    if (!process?.alive) return
    this.parts.journal.tell('edge', `${powerCut ? 'power cut' : 'killed'} at ${where}`)
    process.alive = false
    this.noteLostClock(process)
    this.disk.crash(powerCut)
    for (const session of this.parts.uplink.sessions) session.cut('ECONNRESET', 'the edge is gone')
    this.down()
    this.parts.scheduler.after(offMs, () => this.start())
  }

  /** SIGTERM, as the edge's main does it. */
  async stop(offMs: number): Promise<void> {
    const { process, outbox, ingest } = this
    if (!process?.alive || !outbox || !ingest) return
    this.parts.journal.tell('edge', 'stops')
    this.stopping?.abort()
    this.down()
    await this.forwarding
    await outbox.close()
    if (!process.alive) return
    this.parts.journal.tell('edge', 'has stopped')
    this.disk.checkIdle()
    process.alive = false
    this.disk.crash(false)
    this.parts.scheduler.after(offMs, () => this.start())
  }

  private noteLostClock(process: SimulatedProcess): void {
    const { scheduler, truth } = this.parts
    const held = this.disk.troubled || process.frozen
    if (
      this.jumps.some(({ atMs }) => atMs > truth.headLandedMs && (held || scheduler.nowMs - atMs < lookMs))
    ) {
      truth.clockWasLost = true
    }
  }

  private down(): void {
    this.ingest = undefined
    callOnce(this.onDown)
  }

  private async run(process: SimulatedProcess): Promise<void> {
    const { settings, random, log, uplink, journal, truth } = this.parts
    const { clock } = process
    truth.hands = new Hands(this.parts)
    const stopping = new AbortController()
    this.stopping = stopping
    const outbox = await openOutbox({
      folder: this.disk.folderFor(process),
      gateway: gatewayName,
      clock,
      random: random.random,
      log,
      observer: {
        ...silentOutboxObserver,
        refused: (reason) => journal.count(`refused: ${reason}`),
        admitted: (result) => journal.count(`admitted: ${result}`),
        lost: (count) => {
          journal.count('lost', count)
          if (count > truth.damaged.length)
            journal.violate(
              'error',
              `the outbox says it lost ${count} events of ${truth.damaged.length} that damage took`,
            )
        },
      },
      quota: {
        eventsMax: settings.eventsMax,
        bytesMax: settings.bytesMax,
        deviceShare: settings.deviceShare,
        deviceMinimum,
        reservedShare: settings.reservedShare,
        diskFreeBytesMin: 60_000,
        full: settings.full,
      },
      lanes: {
        catchUp: settings.catchUp,
        inOrderBelow: settings.inOrderBelow,
        ...(settings.eventsPerSecond === undefined ? {} : { eventsPerSecond: settings.eventsPerSecond }),
      },
      dedup: { ageMs: 86_400_000, count: settings.dedupCount },
      batchEventsMax: settings.batchEventsMax,
      waitingMax: settings.waitingMax,
      reportIntervalMs: settings.reportIntervalMs,
      clockSettleMs: settings.clockSettleMs,
      checkpoints: this.signerOf(process),
      signal: stopping.signal,
    })
    if (!process.alive) return
    this.outbox = outbox
    this.haveSchemas(process, outbox, false)
    this.forwarding = forward(
      {
        outbox: truth.hands.watch(outbox),
        exchange: uplink.exchangeFor(process),
        clock,
        random: random.random,
        log,
        observer: silentForwarderObserver,
        batch: {
          eventsMax: settings.uplinkBatchEventsMax,
          bytesMax: settings.uplinkBatchBytesMax,
          partitions: settings.partitions,
        },
        windowEvents: settings.windowEvents,
        confirmTimeoutMs: settings.confirmTimeoutMs,
        retry: { delayMsMin: 500, delayMsMax: 5000 },
      },
      stopping.signal,
    ).catch((error: unknown) => {
      if (process.alive) journal.violate('error', `the forwarder ended with ${String(error)}`)
    })
    this.ingest = this.ingestOf(process, outbox)
    journal.tell('edge', `is up, epoch ${outbox.stats().epoch}`)
    callOnce(this.onUp)
  }

  /** As the edge's main does it: what is kept is named at the start, and what comes where it comes into use. */
  private haveSchemas(process: SimulatedProcess, outbox: Outbox, areOthers: boolean): void {
    const { schemasEveryMs } = this.parts.settings
    if (schemasEveryMs === undefined || !process.alive || this.outbox !== outbox) return
    if (areOthers || this.schemasRevision === 0) this.schemasRevision += 1
    this.parts.journal.count('schemas-named')
    outbox
      .judgedBy({ source: 'file', types: 1, versions: 1, revision: this.schemasRevision })
      .catch((error: unknown) => {
        if (codeOf(error) !== 'OUTBOX_CLOSED') throw error
      })
    // Or nothing would ever be quiet.
    if (this.parts.scheduler.nowMs < activeMs)
      process.clock.after(schemasEveryMs, () => this.haveSchemas(process, outbox, true))
  }

  /** Signing takes its time, and the program may be gone before it has ended. */
  private signerOf({ clock }: SimulatedProcess): CheckpointSigner | undefined {
    const { settings, random, journal } = this.parts
    const { signsEvery } = settings
    if (signsEvery === undefined) return undefined
    return {
      ...gatewaySigner,
      everyEvents: signsEvery,
      everyMs: signMs,
      async sign(gateway, head) {
        await clock.sleep(random.between(0, settings.latencyMsMax))
        journal.count('signed')
        return gatewaySigner.sign(gateway, head)
      },
    }
  }

  private ingestOf(process: SimulatedProcess, outbox: Outbox): Ingest {
    const { settings, random, log, truth, scheduler } = this.parts
    const admit = createAdmission({
      checkSchema: createSchemaCheck({ schemas: schemasOf('edge'), unknownTypes: 'accept' }),
      types: { [types.alarm]: { lane: 'high' }, [types.brief]: { ttl: settings.briefTtlMs } },
      payloadBytesMax: 4096,
      quarantineBytesMax: 512,
      clockSkewMaxMs: 86_400_000,
      timeAgeMaxMs: 366 * 86_400_000,
      clock: process.clock,
      random: random.random,
    })
    return createIngest({
      routes: createRoutes([]),
      admit: (message) => {
        const admitted = admit(message)
        const key = eventKey(admitted.submission.candidate)
        if (!truth.judgedBy.has(key)) truth.judgedBy.set(key, this.schemasRevision)
        return admitted
      },
      outbox: {
        appendAll: (submissions, answered, signal) => {
          const left = [...submissions]
          return outbox.appendAll(
            submissions,
            (admissions) => {
              for (const { kind } of admissions) {
                const { qos, candidate } = left.shift() as Submission
                // From here on the device may be told: G1 counts from the answer, not from its arrival.
                if (process.alive && qos > 0 && kind !== 'shed')
                  truth.acknowledged.set(eventKey(candidate), scheduler.nowMs)
              }
              answered(admissions)
            },
            signal,
          )
        },
      },
      observer: silentIngestObserver,
      clock: process.clock,
      log,
    })
  }
}

function callOnce(listeners: Set<() => void>): void {
  const all = [...listeners]
  listeners.clear()
  for (const listener of all) listener()
}
