import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { headers as names, mirrorQueue, wire } from '../../../src/contract/wire.ts'
import { type CloudBench, openCloudBench } from '../../support/cloud/cloud.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { gatewayUser, type GatewayUser } from '../../support/cloud/gateway-user.ts'

const refusing = { gateways: { unvouched: 'refuse' } }
let bench: CloudBench
const opened: GatewayUser[] = []

beforeEach(async () => {
  bench = await openCloudBench()
})
afterEach(async () => {
  for (const each of opened.splice(0).toReversed()) await each.close()
  await bench.close()
})

async function userOf(name: string): Promise<GatewayUser['publish']> {
  const user = await gatewayUser(bench, name)
  opened.push(user)
  return user.publish
}

async function stored(count: number): Promise<unknown[]> {
  return vi.waitFor(
    async () => {
      const rows = await bench.rows<{ value: unknown }>(
        `select body->'data'->>'temperature' as value from tidegate.events order by sequence`,
      )
      expect(rows).toHaveLength(count)
      return rows.map(({ value }) => Number(value))
    },
    { timeout: 10_000, interval: 50 },
  )
}

describe('the cloud', () => {
  test('what one gateway’s user publishes in another’s name is a dead letter of each group, and the event that it wanted to be is stored (G9)', async () => {
    const module = bench.module(`export default { group: 'other', types: ['#'], handle() {} }`)
    await bench.start({ ...refusing, consumers: ['history', { module }] })
    const [honest, thief] = [await userOf('gateway-1'), await userOf('gateway-2')]
    const [ledger, forged] = [new Ledger('gateway-1'), new Ledger('gateway-1')]
    await thief(forged.next('device-1', { data: { temperature: 99 } }))
    await honest(ledger.next('device-1', { data: { temperature: 21 } }))
    expect(await stored(1)).toEqual([21])
    for (const group of ['history', 'other']) {
      const letter = await vi.waitFor(async () => {
        const message = await bench.get(mirrorQueue(group))
        expect(message).toBeDefined()
        return message
      })
      expect(letter?.headers).toMatchObject({
        [names.errorCode]: 'PROVENANCE',
        [names.originalUser]: 'gateway-2',
      })
    }
    expect(await bench.rows('select 1 from tidegate.ledger_notes')).toEqual([])
  })

  test('RabbitMQ refuses a message with the user ID of another (G9)', async () => {
    const module = bench.module(`export default { group: 'other', types: ['#'], handle() {} }`)
    await bench.start({ ...refusing, consumers: ['history', { module }] })
    const [honest, thief] = [await userOf('gateway-1'), await userOf('gateway-2')]
    const ledger = new Ledger('gateway-1')
    await expect(thief(ledger.next('device-1'), 'gateway-1')).rejects.toThrow(/user_id/)
    await honest(new Ledger('gateway-1').next('device-1', { data: { temperature: 21 } }))
    expect(await stored(1)).toEqual([21])
  })

  test('a gateway’s own events are stored, with a retry and again from the unroutable ones (G9)', async () => {
    await bench.declareExchange()
    const gateway = await userOf('gateway-1')
    const ledger = new Ledger('gateway-1')
    await gateway(ledger.next('device-1', { data: { temperature: 21 } }))
    expect(await bench.depth(wire.unroutable)).toBe(1)
    const module = bench.module(`
      export default {
        group: 'stumbles',
        types: ['#'],
        async handle(event, { tx, attempt }) {
          if (attempt === 1) throw new Error('not yet')
          await tx.query('insert into effects values ($1)', [event.data.temperature])
        },
      }`)
    await bench.rows('create table effects (value float8)')
    await bench.start({ ...refusing, consumers: ['history', { module }] })
    await gateway(ledger.next('device-1', { data: { temperature: 22 } }))
    expect(await stored(2)).toEqual([21, 22])
    await vi.waitFor(
      async () => {
        const effects = await bench.rows<{ value: number }>('select value from effects order by value')
        expect(effects.map(({ value }) => value)).toEqual([21, 22])
      },
      { timeout: 10_000, interval: 50 },
    )
    for (const group of ['history', 'stumbles']) expect(await bench.letters(group)).toEqual([])
  })
})
