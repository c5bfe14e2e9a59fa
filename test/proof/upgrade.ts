import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { crc32 } from 'node:zlib'
import type { Submission } from '../../edge/outbox/outbox.ts'
import { levelFolder } from '../../edge/store/store-level.ts'
import { systemClock as clock } from '../../src/clock.ts'
import { chance } from '../simulation/plan/chance.ts'
import { fillBeforeBlocks } from '../support/edge/outbox-before-blocks.ts'
import { submission } from '../support/edge/outbox-events.ts'

export interface UpgradeOptions {
  events: number
  /** kill -9 so often, from the first start to the last event. */
  kills: number
  seed: number
  tmp: string
  say?: (line: string) => void
}

export interface UpgradeResult {
  events: number
  /** Before the outbox was open, and while it ran empty. */
  killedOpening: number
  killedDraining: number
  /** Taken again after a kill, which the cloud drops. */
  repeated: number
  faults: string[]
}

/** Of which an eighth of the default window is full. */
const idsPerGeneration = 125_000
/** That are sent again in the end, of those that the window still holds. */
const repeatsCount = 1000
/** Sequence and checksum of a text, as upgrade-worker.ts writes them down. */
const wordsPerRecord = 2

/** The event of this number, as its device sent it. */
export function oldEvent(number: number): Submission {
  return submission(`d${number % 100}`, `e${number}`, number % 50 === 0 ? { lane: 'high' } : {})
}

/**
 * Makes an outbox of the layout before blocks, opens it and lets it run empty, killed with -9 on the way; then every event must have been
 * taken, with the text that it had, none may be counted as lost, and those that are sent again must be known (G1, G4).
 */
export async function runUpgrade(options: UpgradeOptions): Promise<UpgradeResult> {
  const { events, kills, seed, say = () => {} } = options
  const random = chance(seed, 'upgrade')
  const root = await mkdtemp(join(options.tmp, 'tidegate-upgrade-'))
  const folder = join(root, 'outbox')
  const delivered = join(root, 'delivered')
  const result: UpgradeResult = { events, killedOpening: 0, killedDraining: 0, repeated: 0, faults: [] }
  try {
    const sums = new Uint32Array(events + 1)
    await fillBeforeBlocks(levelFolder({ folder, reserveBytes: 0, clock }), numbered(events), [], {
      idsPerGeneration,
      onText: (sequence, text) => (sums[sequence] = crc32(text)),
    })
    say(`${events} events of the layout before lie there`)
    for (let kill = 0; kill < kills; kill++) {
      const gateway = start({ folder, delivered, repeats: [] })
      // Half of them while remembered IDs are sorted, half while the outbox runs empty.
      const early = kill < kills / 2
      if (!early) await gateway.opened
      const before = gateway.open
      await Promise.race([wait(early ? random.between(400, 3000) : random.between(50, 1000)), gateway.ended])
      gateway.child.kill('SIGKILL')
      await gateway.ended
      if (before || gateway.open) result.killedDraining += 1
      else result.killedOpening += 1
      say(`killed ${gateway.open ? 'while it ran empty' : 'before it was open'}`)
    }
    const repeats = Array.from({ length: Math.min(repeatsCount, events) }, () =>
      random.whole(Math.ceil(events / 4), events),
    )
    const last = start({ folder, delivered, repeats })
    await last.ended
    const end = JSON.parse(last.said.at(-1) ?? 'null') as {
      lost: number
      left: number
      accepted: number
    } | null
    if (end === null) result.faults.push('the last gateway ended before its time')
    else if (end.lost + end.left + end.accepted > 0) result.faults.push(JSON.stringify(end))
    balance(existsSync(delivered) ? await readFile(delivered) : Buffer.alloc(0), sums, result)
    return result
  } finally {
    await rm(root, { recursive: true, force: true })
  }
}

/** Whether every event was taken, with the text that it had. */
function balance(delivered: Buffer, sums: Uint32Array, result: UpgradeResult): void {
  const seen = new Uint8Array(sums.length)
  for (let at = 0; at + 4 * wordsPerRecord <= delivered.length; at += 4 * wordsPerRecord) {
    const sequence = delivered.readUInt32LE(at)
    if (delivered.readUInt32LE(at + 4) !== sums[sequence])
      result.faults.push(`${sequence} is not what it was`)
    else if (seen[sequence] === 1) result.repeated += 1
    seen[sequence] = 1
  }
  const missing = seen.subarray(1).reduce((sum, one) => sum + 1 - one, 0)
  if (missing > 0) result.faults.push(`${missing} events were never taken`)
}

function* numbered(events: number): Generator<Submission> {
  for (let number = 1; number <= events; number++) yield oldEvent(number)
}

interface Gateway {
  child: ChildProcess
  /** It is open, or has ended. */
  opened: Promise<unknown>
  open: boolean
  said: string[]
  ended: Promise<unknown>
}

function start(task: object): Gateway {
  const child = spawn(process.execPath, [worker, JSON.stringify(task)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = once(child, 'close')
  const lines = createInterface({ input: child.stdout })
  const gateway: Gateway = {
    child,
    opened: Promise.race([once(lines, 'line'), ended]),
    open: false,
    said: [],
    ended,
  }
  lines.on('line', (line) => {
    gateway.open = true
    gateway.said.push(line)
  })
  return gateway
}

/** Compiled, whether we are or run from source. */
const worker = fileURLToPath(
  new URL(
    import.meta.url.endsWith('.ts') ? '../../dist/test/proof/upgrade-worker.js' : 'upgrade-worker.js',
    import.meta.url,
  ),
)
