import { describe, expect, test } from 'vitest'
import { batchOf } from '../../../cloud/projections/applying.ts'
import { rollups } from '../../../cloud/projections/built-in/rollups.ts'
import { createBatchLimit } from '../../../cloud/projections/pace.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'

describe('the size of a batch', () => {
  test('is halved down to the event that cannot be applied, and is doubled behind it', () => {
    const limit = createBatchLimit(1000)
    limit.shrink(1000, false)
    limit.shrink(500, false)
    expect(limit.events).toBe(250)
    limit.grow()
    limit.grow()
    limit.grow()
    expect(limit.events).toBe(1000)
  })

  test('grows little by little where it took too long: not every other batch is for nothing', () => {
    const limit = createBatchLimit(1000)
    limit.shrink(1000, true)
    let batches = 0
    for (; limit.events < 1000; batches++) limit.grow()
    expect(batches).toBeGreaterThan(30)
    limit.shrink(1000, false)
    limit.grow()
    expect(limit.events).toBe(1000)
  })
})

describe('a batch of rollups', () => {
  const ledger = new Ledger()
  const pageOf = (events: number, numbers: number) => ({
    events: Array.from({ length: events }, (_, index) => {
      const data = Object.fromEntries(Array.from({ length: numbers }, (_, n) => [`f${n}`, n]))
      const { text, event } = ledger.next('device-1', { data })
      const { type, gateway, epoch, sequence, source, id } = event
      const place = { gateway, epoch, sequence, source, id, position: index }
      return { ...place, text, type, cursor: `1.1.${index}`, storedMs: 0, disposition: 'accepted' as const }
    }),
    next: `1.1.${events - 1}`,
    more: false,
  })
  const projection = { ...rollups(), tables: '' }

  test('has as many events as come to 20,000 numbers, and goes on behind the last of them', () => {
    const { page, events } = batchOf(pageOf(1000, 64), projection)
    expect(events.length).toBe(312)
    expect(page).toMatchObject({ next: '1.1.311', more: true })
    expect(page.events.length).toBe(312)
  })

  test('has all of a page whose events have a few', () => {
    const { page, events } = batchOf(pageOf(1000, 2), projection)
    expect([events.length, page.next, page.more]).toEqual([1000, '1.1.999', false])
  })
})
