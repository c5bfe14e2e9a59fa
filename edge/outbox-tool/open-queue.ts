import { dirname, join } from 'node:path'
import { codeOf, messageOf } from '../../src/errors.ts'
import { exportTexts } from '../outbox/look/export.ts'
import { find } from '../outbox/look/finding.ts'
import { inspect } from '../outbox/look/inspection.ts'
import { type Look, openCopy } from '../outbox/look/open-copy.ts'
import { verify } from '../outbox/look/verification.ts'
import { readDoor } from './door.ts'
import { storeIn, untouchable } from './place.ts'
import type { Queue, QueueOptions } from './queue.ts'
import { queueBehind } from './remote.ts'
import { levelFolder } from '../store/store-level.ts'
import { copyBeside, removeLeftCopies } from '../store/leveldb/copy.ts'
import { corrupt } from '../store/leveldb/errors.ts'
import { whileNobodyHas } from '../store/leveldb/lock-level.ts'

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
    look = await openCopyOf(folder, location, options)
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
    find: (asked) => find(store, asked),
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

async function openCopyOf(
  folder: string,
  location: string,
  { clock, scratch, thorough }: QueueOptions & { thorough: boolean },
): Promise<LookAtCopy> {
  const ofOriginal = (text: string): string => text.replaceAll(join(folder, 'db'), location)
  try {
    const copy = levelFolder({ folder, reserveBytes: 0, clock, checkTables: thorough })
    const diskBytes = await copy.usedBytes()
    const { store, findings } = await openCopy(copy)
    return { store, findings: findings.map(ofOriginal), folder, diskBytes }
  } catch (error) {
    await scratch.remove(folder)
    if (codeOf(error) !== 'STORE_CORRUPT') throw error
    throw corrupt(location, `even a copy that was repaired: ${ofOriginal(messageOf(error))}`)
  }
}
