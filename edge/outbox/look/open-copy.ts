import { codeOf, messageOf } from '../../../src/errors.ts'
import type { Store, StoreFolder } from '../../store/store.ts'
import { decodeHead, type Head } from '../layout/head.ts'
import { headKey } from '../layout/keys.ts'
import { eventsInTorn, memoryOf, remembered, tailLost, tornDetail } from '../opening/memory.ts'
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
    if (store.torn) findings.push(tornDetail(await memoryOf(copy), eventsInTorn(store.torn.operationsMax)))
    const fault = await faultOfHead(store, copy)
    if (fault !== undefined) findings.push(fault)
    return { store, findings }
  } catch (error) {
    await store.close()
    throw error
  }
}

async function faultOfHead(store: Store, copy: StoreFolder): Promise<string | undefined> {
  try {
    const head = decodeHead(await store.get(headKey))
    const looking = (base: number): Head => newHead({ gateway: '', newEpoch: () => '' }, base)
    return head && tailLost(head, remembered(await memoryOf(copy), head, looking))
  } catch (error) {
    // Its events may be readable all the same.
    if (codeOf(error) === 'STORE_NEWER') return messageOf(error)
    throw error
  }
}
