import { describe, expect, test } from 'vitest'
import { Ledger, posted } from '../../support/cloud/cloud-events.ts'
import { settled } from '../../support/fakes/clock.ts'
import { partitions, setUp, writing } from '../../support/cloud/test-pipeline.ts'

describe('the pipeline', () => {
  test('an event that is delivered twice has one effect (G4)', async () => {
    const { broker, storage, start } = setUp(writing())
    start('a')
    const event = posted(new Ledger().next('device-1'), partitions)
    broker.post(event)
    broker.post(event)
    await settled()
    expect(storage.effects()).toHaveLength(1)
    expect(broker.depth).toBe(0)
  })

  test('a message that is no event becomes a dead letter and holds nobody up (G5)', async () => {
    const { broker, storage, start } = setUp(writing())
    start('a')
    broker.post({ text: 'not JSON', partition: 1 })
    broker.post({ ...posted(new Ledger().next('device-1'), partitions), partition: 1 })
    await settled()
    expect(storage.dead().map(({ code }) => code)).toEqual(['EVENT_UNREADABLE'])
    expect(storage.effects()).toHaveLength(1)
  })

  test('a group that asks for devices’ events is not given the gateways’ own', async () => {
    const { broker, storage, start } = setUp(writing())
    start('a')
    const ledger = new Ledger()
    broker.post(posted(ledger.next('device-1', { type: 'dev.tidegate.rejected' }), partitions))
    await settled()
    expect(storage.effects()).toHaveLength(0)
    expect(broker.depth).toBe(0)
  })
})
