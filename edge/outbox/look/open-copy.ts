import { codeOf, messageOf } from '../../../src/errors.ts'
import type { Store, StoreFolder } from '../../store/store.ts'
import { decodeHead, type Head } from '../layout/head.ts'
import { headKey } from '../layout/keys.ts'
import { eventsInTorn, isCertain, memoryOf, newestHead, tailLost, tornDetail } from '../opening/memory.ts'
import { newHead } from '../opening/new-head.ts'

/** A store that is opened to be looked at, and what is wrong with it as a whole. */
export interface Look {
  store: Store
  /** What a gateway that starts on it will find; empty: nothing. */
  findings: string[]
}

/**
 * Opens a copy of an outbox and repairs it if need be, in order to read it. Accounts for nothing: that is for who
 * goes on with the original.
 * @throws TidegateError `STORE_CORRUPT` (beyond repair), `STORE_UNAVAILABLE`
 */
export async function openCopy(copy: StoreFolder): Promise<Look> {
  const findings: string[] = []
  const store = await copy.open().catch(async (error: unknown) => {
    if (codeOf(error) !== 'STORE_CORRUPT') throw error
    findings.push(messageOf(error))
    await copy.repair('in order to look at it')
    return copy.open()
  })
  try {
    if (findings.length === 0 && store.repaired !== undefined)
      findings.push(`it was repaired, and not accounted for yet: ${store.repaired.why}`)
    findings.push(...(await faultsOfTail(store, copy)))
    return { store, findings }
  } catch (error) {
    await store.close()
    throw error
  }
}

/** @throws TidegateError `STORE_NEWER`, by what lies beside the store */
export async function refuseNewer(folder: StoreFolder): Promise<void> {
  await memoryOf(folder)
}

/** What damage may have taken of the newest writes. */
async function faultsOfTail(store: Store, copy: StoreFolder): Promise<string[]> {
  try {
    const memory = await memoryOf(copy)
    const head = decodeHead(await store.get(headKey))
    const eventsMax = store.torn && eventsInTorn(store.torn, head)
    const torn = eventsMax === undefined ? [] : [tornDetail(isCertain(memory, head), eventsMax)]
    const short = head && tailLost(head, newestHead(memory, head, headToLookAt))
    return short === undefined ? torn : [...torn, short]
  } catch (error) {
    // Its events may be readable all the same.
    if (codeOf(error) === 'STORE_NEWER') return [messageOf(error)]
    throw error
  }
}

/** Nothing is written: no epoch needs a name. */
function headToLookAt(base: number): Head {
  return newHead({ gateway: '', newEpoch: () => '' }, base)
}
