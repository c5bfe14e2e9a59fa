import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { partitionOf } from '../../../src/contract/wire.ts'
import type { ReplayRequest, ReplayState } from '../../../cloud/deeds/deeds.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { deedOf, type DeedsBench, openDeedsBench } from '../../support/cloud/deeds-bench.ts'
import { gatewayUser } from '../../support/cloud/gateway-user.ts'
import { header, headersBlock, nestedArrays, publishRaw } from '../../support/cloud/raw-publish.ts'

const until = <T>(check: () => Promise<T>): Promise<T> => vi.waitFor(check, { timeout: 20_000, interval: 50 })
const refusing = { gateways: { unvouched: 'refuse' } }

let bench: DeedsBench
beforeEach(async () => {
  bench = await openDeedsBench()
})
afterEach(() => bench.close())

async function replayed(request: ReplayRequest): Promise<ReplayState> {
  const { replay } = await bench.deeds.replay(deedOf(request))
  return until(async () => {
    const state = await bench.deeds.replayState(replay)
    expect(state.endedAt).toBeDefined()
    return state
  })
}

describe('a letter that only says that it is of an event', () => {
  test('takes nothing from that event when it is discarded: the real one has its effect, before and after (G4, G5, G9)', async () => {
    await bench.startEffects(refusing)
    const honest = await gatewayUser(bench, 'gateway-1')
    const thief = await gatewayUser(bench, 'gateway-2')
    const ledger = new Ledger('gateway-1')
    const forged = new Ledger('gateway-1')
    await bench.breakDevice('device-1')
    await honest.publish(ledger.next('device-1', { data: { temperature: 21 } }))
    await thief.publish(forged.next('device-1', { data: { temperature: 99 } }))
    await thief.publish(forged.next('device-1', { data: { temperature: 99 } }))
    await until(async () => expect(await bench.letterStates()).toHaveLength(5))
    expect(await bench.deeds.discard(deedOf({ filter: { code: 'PROVENANCE' } }))).toEqual({
      discarded: 4,
      total: 4,
      done: true,
    })
    expect(await bench.rows('select from tidegate.resolutions')).toEqual([])
    await bench.mendDevice('device-1')
    await replayed({ filter: { code: 'SITE_UNKNOWN' } })
    await honest.publish(ledger.next('device-1', { data: { temperature: 22 } }))
    await until(async () =>
      expect((await bench.effects()).map(({ data }) => data)).toEqual([
        { temperature: 21 },
        { temperature: 22 },
      ]),
    )
    await honest.close()
    await thief.close()
  })

  test('is asked who published it when it comes back, also one that could not be read: believed is what is let in today, or is named (G9)', async () => {
    await bench.startEffects(refusing)
    const thief = await gatewayUser(bench, 'gateway-2')
    const { text } = new Ledger('gateway-1').next('device-1', { data: { temperature: 99 } })
    const routingKey = `0${partitionOf('device-1', bench.partitions)}.com.acme.climate`
    const block = headersBlock(header('n', 'A', nestedArrays(20_000)))
    await publishRaw(bench.url, [{ routingKey, block, body: text }])
    await thief.publish(new Ledger('gateway-1').next('device-1', { id: 'other', data: { temperature: 98 } }))
    await until(async () => expect(await bench.letterStates()).toHaveLength(4))
    expect(await bench.deeds.preview({ group: 'effects' })).toMatchObject({ letters: 2, unvetted: 2 })
    for (const group of ['effects', 'history'])
      expect(await replayed({ filter: { group } })).toMatchObject({ sent: 2, failed: 2 })
    expect(await bench.effects()).toEqual([])
    expect(await bench.rows(`select from tidegate.events where source like '/devices/%'`)).toEqual([])
    expect(new Set((await bench.letterStates()).map(({ code }) => code))).toEqual(new Set(['PROVENANCE']))
    const named = (await bench.letterStates()).find(({ group, id }) => group === 'effects' && id === 'other')
    const { letter } = named as { letter: number }
    expect(await replayed({ filter: { letter } })).toMatchObject({ failed: 1 })
    expect(await replayed({ filter: { letter, code: 'PROVENANCE' } })).toMatchObject({ resolved: 1 })
    expect(await replayed({ filter: { group: 'effects' }, believe: true })).toMatchObject({ resolved: 1 })
    expect((await bench.effects()).map(({ data }) => data)).toEqual([
      { temperature: 98 },
      { temperature: 99 },
    ])
    await thief.close()
  })
})
