import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { headers, partitionOf } from '../../../src/contract/wire.ts'
import { type CloudBench, openCloudBench } from '../../support/cloud/cloud.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import {
  double,
  header,
  headersBlock,
  longText,
  nestedArrays,
  publishRaw,
} from '../../support/cloud/raw-publish.ts'

let bench: CloudBench
// The servers start with the first who asks: no test's time.
beforeAll(async () => (await openCloudBench()).close())
afterEach(() => bench.close())

const until = (check: () => void | Promise<void>): Promise<void> =>
  vi.waitFor(check, { interval: 50, timeout: 20_000 })

const timestamp = Buffer.concat([Buffer.from([0x00, 0x40]), Buffer.alloc(8, 255)])
const contentType = (type: string): Buffer =>
  Buffer.concat([Buffer.from([0x80, 0x00, type.length]), Buffer.from(type)])
const story = JSON.stringify(Array.from({ length: 9 }, () => ({ message: 'x'.repeat(14_500) })))

describe('one message that nobody expects', () => {
  test.each([
    ['a timestamp beyond what the client can encode', timestamp, 'EVENT_UNREADABLE'],
    ['a header of -1e300', headersBlock(header('x', 'd', double(-1e300))), 'EVENT_UNREADABLE'],
    [
      'a forged story of 130 kB',
      headersBlock(header(headers.failures, 'S', longText(story))),
      'EVENT_UNREADABLE',
    ],
    [
      'a forged original routing key of 130 kB',
      headersBlock(header(headers.originalRoutingKey, 'S', longText('k'.repeat(130_900)))),
      'EVENT_UNREADABLE',
    ],
    [
      'headers nested 20,000 deep, on which the client’s decoder falls',
      headersBlock(header('n', 'A', nestedArrays(20_000))),
      'PROPERTIES_UNREADABLE',
    ],
    ['a body that is said to be JSON', contentType('application/json'), 'EVENT_UNREADABLE'],
  ])('is a dead letter, and what is behind it is processed: %s (G5)', async (_, block, code) => {
    bench = await openCloudBench()
    const cloud = await bench.start({ consumers: ['history'] })
    const routingKey = `0${partitionOf('device-1', bench.partitions)}.com.acme.climate`
    await publishRaw(bench.url, [{ routingKey, block, body: 'not json' }])
    await bench.publish([new Ledger().next('device-1')])
    await until(async () => expect(await bench.rows('select id from tidegate.events')).toHaveLength(1))
    await until(async () => expect(await bench.depth('history.dead.v2')).toBe(1))
    const letter = await bench.get('history.dead.v2')
    expect(letter?.headers).toMatchObject({ [headers.errorCode]: code, [headers.attempt]: 1 })
    expect(String(letter?.body)).toBe('not json')
    const ready = (await (await fetch(`${cloud.opsUrl}/readyz`)).json()) as object
    expect(ready).toMatchObject({ ok: true })
  })

  test('what could not be taken over of it goes along as the bytes it came in', async () => {
    bench = await openCloudBench()
    await bench.start({ consumers: ['history'] })
    const block = headersBlock(header('mine', 'S', longText('kept')), header('x', 'd', double(-1e300)))
    await publishRaw(bench.url, [{ routingKey: '00.com.acme.climate', block, body: 'x' }])
    await until(async () => expect(await bench.depth('history.dead.v2')).toBe(1))
    const letter = await bench.get('history.dead.v2')
    expect(letter?.headers).toMatchObject({
      mine: 'kept',
      [headers.originalProperties]: Buffer.concat([block.subarray(0, 2), block.subarray(2)]).toString(
        'base64',
      ),
    })
    expect(letter?.headers).not.toHaveProperty('x')
  })

  test('a JSON string that holds an event is no event', async () => {
    bench = await openCloudBench()
    await bench.start({ consumers: ['history'] })
    const { text } = new Ledger().next('device-1')
    const block = contentType('application/json')
    await publishRaw(bench.url, [{ routingKey: '00.com.acme.climate', block, body: JSON.stringify(text) }])
    await until(async () => expect(await bench.depth('history.dead.v2')).toBe(1))
    expect(await bench.rows('select id from tidegate.events')).toHaveLength(0)
  })

  test('that no queue had wanted stays where it is, and what is behind it is published again (G5)', async () => {
    bench = await openCloudBench()
    await bench.declareExchange()
    const deep = headersBlock(header('n', 'A', nestedArrays(20_000)))
    await publishRaw(bench.url, [{ routingKey: '00.com.acme.climate', block: deep, body: 'x' }])
    await bench.publish([new Ledger().next('device-1')])
    await bench.start({ consumers: ['history'] })
    await until(async () => expect(await bench.rows('select id from tidegate.events')).toHaveLength(1))
    await until(async () => expect(await bench.depth('tidegate.unroutable')).toBe(1))
  })
})
