import { dirname, join } from 'node:path'
import type { Clock } from '../../src/clock.ts'
import { codeOf, messageOf } from '../../src/errors.ts'
import { type Exported, type ExportFilter, exportTexts } from '../outbox/look/export.ts'
import { type Inspection, inspect } from '../outbox/look/inspection.ts'
import { type Look, lookInto } from '../outbox/look/open-copy.ts'
import { type Verification, verify } from '../outbox/look/verification.ts'
import { readDoor } from './door.ts'
import { storeIn, untouchable } from './place.ts'
import { queueBehind } from './remote.ts'
import type { Scratch } from '../store/leveldb/scratch.ts'
import { levelFolder } from '../store/store-level.ts'
import { copyBeside, removeLeftCopies } from '../store/leveldb/copy.ts'
import { corrupt } from '../store/leveldb/errors.ts'
import { whileNobodyHas } from '../store/leveldb/lock-level.ts'

/** What `inspect` tells; the last three only of a gateway that is running. */
export interface QueueReport extends Inspection {
  diskBytes: number
  inFlight?: number
  waiting?: number
  refusing?: string
}

/** A gateway's queue, at rest or at work. */
export interface Queue {
  readonly running: boolean
  /** What is wrong with it as a whole; what is told of it then is told of a repaired copy. */
  readonly findings: readonly string[]
  inspect(devicesMax: number): Promise<QueueReport>
  verify(): Promise<Verification>
  export(filter: ExportFilter): AsyncIterable<Exported>
  close(): Promise<void>
}

export interface QueueOptions {
  /** A data folder, or a store that was set aside. */
  dataDir: string
  clock: Clock
  scratch: Scratch
}

/**
 * Opens a queue: through the gateway where one runs, else in a private copy, because LevelDB
 * changes what it opens, and with it the evidence of what happened to it. With `thorough` every block of it is
 * checked first.
 * @throws TidegateError `OUTBOX_ABSENT`, `OUTBOX_LOCKED`, `OUTBOX_COPY_FAILED`, `GATEWAY_UNREACHABLE`, `STORE_CORRUPT`
 */
export async function openQueue(options: QueueOptions & { thorough: boolean }): Promise<Queue> {
  const { dataDir, clock, scratch } = options
  const location = await storeIn(dataDir)
  let look: LookAtCopy
  try {
    const folder = await whileNobodyHas(location, scratch, async () => {
      await removeLeftCopies(location)
      return copyBeside(location, scratch)
    })
    look = await openCopy(folder, location, options)
  } catch (error) {
    const locked = codeOf(error) === 'OUTBOX_LOCKED'
    const door = locked ? await readDoor(dirname(dirname(location))) : undefined
    if (!door) throw untouchable(location, error)
    return queueBehind(door)
  }
  const { store, findings, folder, diskBytes } = look
  return {
    running: false,
    findings,
    inspect: async (devicesMax) => ({
      ...(await inspect(store, { devicesMax, nowMs: clock.now() })),
      diskBytes,
    }),
    async verify() {
      const { events, faults } = await verify(store)
      return { events, faults: [...findings, ...faults] }
    },
    export: (filter) => exportTexts(store, filter),
    async close() {
      await store.close()
      await scratch.remove(folder)
    },
  }
}

interface LookAtCopy extends Look {
  folder: string
  diskBytes: number
}

async function openCopy(
  folder: string,
  location: string,
  { clock, scratch, thorough }: QueueOptions & { thorough: boolean },
): Promise<LookAtCopy> {
  const ofOriginal = (text: string): string => text.replaceAll(join(folder, 'db'), location)
  try {
    const copy = levelFolder({ folder, reserveBytes: 0, clock, checkTables: thorough })
    const diskBytes = await copy.usedBytes()
    const { store, findings } = await lookInto(copy)
    return { store, findings: findings.map(ofOriginal), folder, diskBytes }
  } catch (error) {
    await scratch.remove(folder)
    if (codeOf(error) !== 'STORE_CORRUPT') throw error
    throw corrupt(location, `even a copy that was repaired: ${ofOriginal(messageOf(error))}`)
  }
}
