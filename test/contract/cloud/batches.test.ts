import { deflateSync } from 'node:zlib'
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { claimedChain, genesis, verifyChain } from '../../../src/contract/codec.ts'
import { headers } from '../../../src/contract/wire.ts'
import { type CloudBench, openCloudBench } from '../../support/cloud/cloud.ts'
import { epoch, Ledger, type Encoded } from '../../support/cloud/cloud-events.ts'

let bench: CloudBench
// The servers start with the first who asks: no test's time.
beforeAll(async () => (await openCloudBench()).close())
afterEach(() => bench.close())

const until = (check: () => void | Promise<void>): Promise<void> =>
  vi.waitFor(check, { interval: 50, timeout: 20_000 })

const together = (ledger: Ledger, count: number, more: object = {}): [Encoded, ...Encoded[]] =>
  Array.from({ length: count }, () => ledger.next('device-1', more)) as [Encoded, ...Encoded[]]

const stored = (): Promise<{ sequence: number; body: string }[]> =>
  bench.rows('select sequence::int, body::text from tidegate.events order by sequence')

describe('the cloud on RabbitMQ and PostgreSQL', () => {
  test('batches and single events, compressed or not, are one history, verbatim and once (G4, G8)', async () => {
    bench = await openCloudBench()
    const module = bench.module(`export default { group: 'other', types: ['#'], handle() {} }`)
    const cloud = await bench.start({ consumers: ['history', { module }] })
    const ledger = new Ledger()
    const [plain, alone, deflated] = [together(ledger, 300), together(ledger, 3), together(ledger, 300)]
    await bench.publishBatch(plain)
    await bench.publish(alone)
    await bench.publishBatch(deflated, { compress: true })
    await bench.publishBatch(deflated, { compress: true })
    const all = [...plain, ...alone, ...deflated]
    await until(async () => expect(await stored()).toHaveLength(all.length))
    const rows = await stored()
    expect(rows.map(({ body }) => body)).toEqual(all.map(({ text }) => text))
    let chain = genesis('gateway-1', epoch)
    for (const { body } of rows) {
      expect(verifyChain(body, chain)).toBe(true)
      chain = String(claimedChain(body))
    }
    await until(async () => {
      const metrics = await (await fetch(`${cloud.opsUrl}/metrics`)).text()
      expect(metrics).toContain('tidegate_cloud_deliveries_total{group="other",outcome="repeat"} 300')
    })
    for (const group of ['history', 'other']) expect(await bench.letters(group)).toEqual([])
  })

  test('what fails of a batch climbs the ladder as a single event, and a dead letter is its text alone (G5)', async () => {
    bench = await openCloudBench()
    await bench.rows('create table effects (n bigint generated always as identity, sequence bigint)')
    const module = bench.module(`
export default {
  group: 'effects',
  types: ['com.acme.climate'],
  onFailure: 'overtake',
  async handle(event, { tx, attempt }) {
    if (event.sequence === 4 || (event.sequence === 6 && attempt < 3)) throw new Error('not yet')
    await tx.query('insert into effects (sequence) values ($1)', [event.sequence])
  },
}`)
    await bench.start({ consumers: [{ module }] })
    const events = together(new Ledger(), 10)
    await bench.publishBatch(events, { compress: true })
    await until(async () => expect(await bench.depth('effects.dead.v2')).toBe(1))
    const rows = await bench.rows<{ sequence: number }>('select sequence::int from effects order by n')
    expect(rows.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 5, 7, 8, 9, 10, 6])
    const letter = await bench.get('effects.dead.v2')
    expect(String(letter?.body)).toBe(events[3]?.text)
    expect(letter).toMatchObject({
      messageId: 'id-4',
      appId: 'gateway-1',
      contentType: 'application/cloudevents+json',
      headers: { [headers.attempt]: 3, [headers.errorMessage]: 'not yet' },
    })
    expect(letter).not.toHaveProperty('contentEncoding')
  })

  test.each([
    ['a broken array', Buffer.from('[{"id":"x"},'), false],
    ['bytes that were never compressed', Buffer.from('[{}]'), true],
    ['59 bytes of thousands of objects', deflateSync(`[${'{},'.repeat(9_999)}{}]`), true],
    ['a bomb of 512 MiB', deflateSync(Buffer.alloc(512 * 1024 * 1024, ' ')), true],
  ])(
    'what says that it is a batch and is %s is one dead letter, as it came, and what is behind it is processed (G5, G7)',
    async (_, body, compress) => {
      bench = await openCloudBench()
      const cloud = await bench.start({ consumers: ['history'] })
      const ledger = new Ledger()
      await bench.publishBatch(together(ledger, 3), { body, compress })
      await bench.publishBatch(together(ledger, 3), { compress })
      await until(async () => expect(await stored()).toHaveLength(3))
      await until(async () => expect(await bench.depth('history.dead.v2')).toBe(1))
      const letter = await bench.get('history.dead.v2')
      expect(letter?.body).toEqual(body)
      expect(letter).toMatchObject({
        contentType: 'application/cloudevents-batch+json',
        headers: { [headers.errorCode]: 'BATCH_UNREADABLE', 'tidegate-batch-events': 3 },
      })
      expect(letter?.contentEncoding).toBe(compress ? 'deflate' : undefined)
      const ready = (await (await fetch(`${cloud.opsUrl}/readyz`)).json()) as object
      expect(ready).toMatchObject({ ok: true })
    },
  )

  test('a compressed batch that no queue had wanted is published again as it was (G5)', async () => {
    bench = await openCloudBench()
    await bench.declareExchange()
    await bench.publishBatch(together(new Ledger(), 20), { compress: true })
    await bench.start({ consumers: ['history'] })
    await until(async () => expect(await stored()).toHaveLength(20))
  })
})
