import { beforeAll, describe, expect, test, vi } from 'vitest'
import type { Storage } from '../../../cloud/database/storage.ts'
import { startFormerLetters } from '../../../cloud/letters/former-letters.ts'
import { systemClock } from '../../../src/clock.ts'
import { formerDeadQueue, headers as names } from '../../../src/contract/wire.ts'
import { silentLog } from '../../../src/log.ts'
import { type CloudBench, openCloudBench } from '../../support/cloud/cloud.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { deedOf, openDeedsBench } from '../../support/cloud/deeds-bench.ts'
import { double, header, headersBlock, nestedArrays, publishRaw } from '../../support/cloud/raw-publish.ts'
import { connectTo, useAmqp } from '../../support/cloud/test-amqp.ts'
import { createFakeStorage, fakeDeadLetters, unreachable } from '../../support/fakes/storage.ts'

// The servers start with the first who asks: no test's time.
beforeAll(async () => (await openCloudBench()).close())
const amqp = useAmqp()

const until = (check: () => void | Promise<void>): Promise<void> =>
  vi.waitFor(check, { interval: 50, timeout: 20_000 })

const queue = formerDeadQueue('history')
/** As former versions made it, with and without the delivery limit. */
const given = { 'x-queue-type': 'quorum', 'x-overflow': 'reject-publish', 'x-max-length': 1_000_000 } as const

async function declare(url: string): Promise<void> {
  const broker = await connectTo(url)
  await broker.client.queueDeclare({ queue, durable: true, arguments: { ...given } })
  await broker.close()
}

async function depth(url: string): Promise<number> {
  const broker = await connectTo(url)
  const { messageCount } = await broker.client.queueDeclare({ queue, passive: true })
  await broker.close()
  return messageCount
}

/** A letter as a former version wrote it. */
async function write(url: string, texts: readonly string[]): Promise<void> {
  const broker = await connectTo(url)
  const publisher = broker.client.createPublisher({ confirm: true })
  for (const text of texts)
    await publisher.send(
      {
        routingKey: queue,
        durable: true,
        headers: { [names.errorCode]: 'ODD', [names.errorMessage]: 'odd', [names.attempt]: 3, mine: 'kept' },
      },
      Buffer.from(text),
    )
  await publisher.close()
  await broker.close()
}

describe('letters of former versions', () => {
  test('are moved into PostgreSQL with their story, whatever they are, also those that come while the cloud runs (G5)', async () => {
    const bench: CloudBench = await openCloudBench()
    await bench.declareExchange()
    await declare(bench.url)
    const ledger = new Ledger()
    const [first, second] = [ledger.next('device-1'), ledger.next('device-2')]
    await write(bench.url, [first.text, first.text])
    const deep = headersBlock(header('n', 'A', nestedArrays(20_000)))
    const strange = [
      deep,
      headersBlock(header('x', 'd', double(-1e300))),
      Buffer.from([0x00, 0x40, ...Array(8).fill(255)]),
    ]
    await publishRaw(
      bench.url,
      strange.map((block) => ({ exchange: '', routingKey: queue, block, body: 'x' })),
    )
    await bench.start({ consumers: ['history'] })
    await until(async () => expect(await bench.letters('history')).toHaveLength(4))
    await write(bench.url, [second.text])
    await until(async () => expect(await bench.letters('history')).toHaveLength(5))
    await until(async () => expect(await depth(bench.url)).toBe(0))
    const letters = await bench.letters('history')
    expect(letters.filter(({ code }) => code === 'ODD')).toMatchObject([
      { device: 'device-1', attempts: 3, message: 'odd', headers: { mine: 'kept' }, state: 'open' },
      { device: 'device-2', attempts: 3 },
    ])
    expect(letters.filter(({ code }) => code === 'UNKNOWN').map(({ body }) => String(body))).toEqual([
      'x',
      'x',
      'x',
    ])
    await bench.close()
  }, 60_000)

  test('that come again when people have closed them are what they were: no letter is there twice (G4, G5)', async () => {
    const bench = await openDeedsBench()
    await bench.declareExchange()
    await declare(bench.url)
    const ledger = new Ledger()
    const [closed, behind] = [ledger.next('device-1'), ledger.next('device-1')]
    await write(bench.url, [closed.text])
    await bench.start({ consumers: ['history'] })
    await until(async () => expect(await bench.letters('history')).toHaveLength(1))
    await bench.deeds.discard(deedOf({ filter: { group: 'history' } }))
    // As if the acknowledgement had been lost with its connection.
    await write(bench.url, [closed.text, behind.text])
    await until(async () => expect(await bench.letters('history')).toHaveLength(2))
    await until(async () => expect(await depth(bench.url)).toBe(0))
    expect((await bench.letters('history')).map(({ id, state }) => [id, state])).toEqual([
      [closed.event.id, 'discarded'],
      [behind.event.id, 'open'],
    ])
    await bench.close()
  }, 60_000)

  test('are taken out of their queue when they are committed, and not before: what is cut off in between is one letter (G5)', async () => {
    await declare(amqp.url)
    const ledger = new Ledger()
    const texts = Array.from({ length: 20 }, () => ledger.next('device-1').text)
    await write(amqp.url, texts)
    let commits = 0
    const storage = createFakeStorage({
      at(point) {
        // Refused; committed, and nobody learns of it; and then the process ends.
        if (point === 'commit' && commits++ === 0) throw unreachable()
        if (point === 'after-commit' && commits < 4) throw unreachable()
      },
    })
    const life = (given: Storage) =>
      startFormerLetters({
        group: 'history',
        consuming: amqp.broker,
        publishing: amqp.broker,
        storage: given,
        letters: { lettersIn: fakeDeadLetters, full: () => undefined, mirror: () => {} },
        clock: systemClock,
        random: Math.random,
        log: silentLog,
      })
    const first = life(storage)
    await until(() => expect(storage.dead()).toHaveLength(20))
    await first.close()
    await until(async () => expect(await depth(amqp.url)).toBe(20))
    const second = life(storage)
    await until(async () => expect(await depth(amqp.url)).toBe(0))
    await second.close()
    expect(
      storage
        .dead()
        .map(({ body }) => String(body))
        .toSorted(),
    ).toEqual(texts.toSorted())
  }, 60_000)
})
