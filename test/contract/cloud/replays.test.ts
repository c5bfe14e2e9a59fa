import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { headers as names, partitionOf, partitionQueue, routingKey } from '../../../src/contract/wire.ts'
import type { LetterFilter, ReplayState } from '../../../cloud/deeds/deeds.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { deedOf, type DeedsBench, openDeedsBench } from '../../support/cloud/deeds-bench.ts'
import { connectTo } from '../../support/cloud/test-amqp.ts'

const until = <T>(check: () => Promise<T>): Promise<T> => vi.waitFor(check, { timeout: 20_000, interval: 50 })

let bench: DeedsBench
beforeEach(async () => {
  bench = await openDeedsBench()
})
afterEach(() => bench.close())

const ofEffects: LetterFilter = { group: 'effects' }

/** So many events of each device become letters. */
async function fail(devices: readonly string[], each: number): Promise<void> {
  const ledger = new Ledger()
  for (const device of devices) await bench.breakDevice(device)
  const events = Array.from({ length: each }, () => devices.map((device) => ledger.next(device))).flat()
  await bench.publish(events)
  await until(async () => expect(await bench.letterStates()).toHaveLength(events.length))
}

function ended(replay: number): Promise<ReplayState> {
  return until(async () => {
    const state = await bench.deeds.replayState(replay)
    expect(state.endedAt).toBeDefined()
    return state
  })
}

describe('a replay of dead letters', () => {
  test('has each effect once, per device in the order of the ledger, and its letters are resolved with that (G4, G5, G6)', async () => {
    await bench.startEffects()
    await fail(['device-1', 'device-2', 'device-3'], 5)
    for (const device of ['device-1', 'device-2', 'device-3']) await bench.mendDevice(device)
    const { replay, total } = await bench.deeds.replay(deedOf({ filter: ofEffects }))
    expect(total).toBe(15)
    expect(await ended(replay)).toMatchObject({
      state: 'done',
      total: 15,
      sent: 15,
      resolved: 15,
      failed: 0,
      returned: 0,
    })
    const rows = await bench.effects()
    expect(new Set(rows.map(({ id }) => id)).size).toBe(15)
    expect(rows).toHaveLength(15)
    const ofFirst = rows.filter(({ device }) => device === 'device-1').map(({ sequence }) => sequence)
    expect(ofFirst).toEqual(ofFirst.toSorted((a, b) => a - b))
    expect((await bench.letterStates()).map(({ state }) => state)).toEqual(
      Array.from({ length: 15 }, () => 'resolved'),
    )
  })

  test('of one filter by two operators at once, with two instances: each letter is in one of them (G4)', async () => {
    await bench.startEffects()
    await bench.startEffects()
    await fail(['device-1', 'device-2', 'device-3', 'device-4'], 30)
    for (const device of ['device-1', 'device-2', 'device-3', 'device-4']) await bench.mendDevice(device)
    const [one, other] = await Promise.all([
      bench.deeds.replay(deedOf({ filter: ofEffects })),
      bench.deeds.replay(deedOf({ filter: ofEffects })),
    ])
    const states = await Promise.all([ended(one.replay), ended(other.replay)])
    expect(one.replay).not.toBe(other.replay)
    expect(states.reduce((sum, { resolved }) => sum + resolved, 0)).toBe(120)
    expect(states.reduce((sum, { sent }) => sum + sent, 0)).toBe(120)
    const rows = await bench.effects()
    expect(rows).toHaveLength(120)
    expect(new Set(rows.map(({ id }) => id)).size).toBe(120)
  })

  test('whose letters fail again leaves them open, with what went wrong and one replay more; nothing is sent twice in it (G5)', async () => {
    await bench.startEffects()
    await fail(['device-1', 'device-2'], 3)
    await bench.mendDevice('device-2')
    const { replay } = await bench.deeds.replay(deedOf({ filter: ofEffects }))
    expect(await ended(replay)).toMatchObject({ state: 'done', sent: 6, resolved: 3, failed: 3 })
    const letters = await bench.letterStates()
    expect(letters.filter(({ state }) => state === 'open')).toEqual(
      Array.from(
        { length: 3 },
        () => expect.objectContaining({ replays: 1, code: 'SITE_UNKNOWN' }) as unknown,
      ),
    )
    expect(letters).toHaveLength(6)
    expect(await bench.effects()).toHaveLength(3)
  })

  test('stops where more than its share fails, at the end of a step of its ramp', async () => {
    await bench.startEffects()
    await fail(['device-1'], 8)
    const { replay } = await bench.deeds.replay(deedOf({ filter: ofEffects, ramp: [2, 4], stopAtShare: 0.1 }))
    const state = await ended(replay)
    expect(state).toMatchObject({ state: 'stopped', sent: 2, failed: 2 })
    expect(state.reason).toMatch(/^REPLAY_FAILS: 2 of 2 /)
    expect((await bench.letterStates()).every((letter) => letter.state === 'open')).toBe(true)
  })

  test('that is stopped sends nothing more; another goes on with the rest', async () => {
    await bench.startEffects()
    await fail(['device-1'], 20)
    await bench.mendDevice('device-1')
    const { replay } = await bench.deeds.replay(deedOf({ filter: ofEffects, ratePerSecond: 2 }))
    await until(async () => expect((await bench.deeds.replayState(replay)).sent).toBeGreaterThan(0))
    await bench.deeds.stopReplay(deedOf({ replay }))
    const state = await ended(replay)
    expect(state).toMatchObject({ state: 'stopped', reason: 'stopped by hand' })
    expect(state.sent).toBeLessThan(20)
    expect(state.resolved).toBe(state.sent)
    const rest = await bench.deeds.replay(deedOf({ filter: ofEffects }))
    expect(await ended(rest.replay)).toMatchObject({ state: 'done', resolved: 20 - state.sent })
    expect(await bench.effects()).toHaveLength(20)
  })

  test('is the same deed by the same key, asked for at once or later; the key of another deed is refused', async () => {
    const deed = deedOf({ filter: ofEffects })
    const [one, other] = await Promise.all([bench.deeds.replay(deed), bench.deeds.replay(deed)])
    expect(one).toEqual(other)
    expect(await bench.deeds.replay(deed)).toEqual(one)
    expect(await bench.rows('select replay from tidegate.replays')).toHaveLength(1)
    await expect(
      bench.deeds.replay({ ...deed, request: { filter: { group: 'other' } } }),
    ).rejects.toMatchObject({
      code: 'IDEMPOTENCY_KEY_REUSED',
    })
    await expect(bench.deeds.discard({ ...deed, request: { filter: ofEffects } })).rejects.toMatchObject({
      code: 'IDEMPOTENCY_KEY_REUSED',
    })
  })

  test('goes on after the instance that did it was killed with a page in its hands, of which nobody knows whether it was sent (G4, G5)', async () => {
    const first = await bench.startEffects()
    await fail(['device-1', 'device-2'], 10)
    await first.stop()
    const { replay } = await bench.deeds.replay(deedOf({ filter: ofEffects }))
    const dying = bench.replays(300)
    const claimed = await dying.claim()
    expect(claimed?.replay).toBe(replay)
    if (!claimed) return
    expect(await dying.take(claimed, 7)).toHaveLength(7)
    expect((await bench.letterStates()).filter(({ state }) => state === 'replaying')).toHaveLength(7)
    for (const device of ['device-1', 'device-2']) await bench.mendDevice(device)
    await bench.startEffects()
    expect(await ended(replay)).toMatchObject({ state: 'done', sent: 20, resolved: 20 })
    expect(await bench.effects()).toHaveLength(20)
    // Whoever has lost it does nothing any more.
    expect(await dying.look(claimed)).toBeUndefined()
    expect(await dying.take(claimed, 7)).toEqual([])
  })

  test('whose messages come twice has each effect once (G4)', async () => {
    const first = await bench.startEffects()
    await fail(['device-1'], 4)
    await first.stop()
    await bench.mendDevice('device-1')
    const { replay } = await bench.deeds.replay(deedOf({ filter: ofEffects }))
    const replays = bench.replays(300)
    const claimed = await replays.claim()
    const letters = claimed ? await replays.take(claimed, 10) : []
    const broker = await connectTo(bench.url)
    const publisher = broker.client.createPublisher({ confirm: true })
    const sendCopies = async (): Promise<void> => {
      for (const one of letters) {
        if (one.letter === undefined) continue
        const { letter, device, body } = one
        const queue = partitionQueue('effects', partitionOf(device ?? '', bench.partitions))
        const headers = { [names.letter]: letter, [names.replay]: replay }
        await publisher.send({ exchange: '', routingKey: queue, durable: true, headers }, body)
      }
    }
    await sendCopies()
    await bench.startEffects()
    expect(await ended(replay)).toMatchObject({ state: 'done', sent: 4, resolved: 4 })
    expect(await bench.effects()).toHaveLength(4)
    // However late: the inbox has forgotten them by then.
    await bench.rows('delete from tidegate.inbox_claims')
    await sendCopies()
    await bench.publish([new Ledger('gateway-2').next('device-1', { id: 'behind-them' })])
    await until(async () => expect((await bench.effects()).at(-1)?.id).toBe('behind-them'))
    expect(await bench.effects()).toHaveLength(5)
    await publisher.close()
    await broker.close()
  })

  test('of which nothing is heard gives its letters back; its messages are repeats then, whenever they come (G4, G5)', async () => {
    const first = await bench.startEffects()
    await fail(['device-1'], 3)
    await first.stop()
    await bench.mendDevice('device-1')
    await bench.deeds.replay(deedOf({ filter: ofEffects }))
    const replays = bench.replays(300)
    const claimed = await replays.claim()
    if (!claimed) throw new Error('there is no replay')
    expect(await replays.take(claimed, 10)).toHaveLength(3)
    await replays.sent(claimed)
    expect(await replays.giveBack(claimed)).toBe(3)
    expect((await bench.letterStates()).every(({ state }) => state === 'open')).toBe(true)
    await replays.end(claimed, 'done')
    const again = await bench.deeds.replay(deedOf({ filter: ofEffects }))
    await bench.startEffects()
    expect(await ended(again.replay)).toMatchObject({ state: 'done', resolved: 3 })
    expect(await bench.effects()).toHaveLength(3)
  })

  test('cannot be made up by whoever publishes to the exchange: a header alone resolves nothing (G9)', async () => {
    await bench.startEffects()
    await fail(['device-1'], 1)
    const [letter] = await bench.letterStates()
    await bench.rows(`update tidegate.dead_letters set state = 'replaying', replay = 7`)
    await bench.mendDevice('device-1')
    const other = new Ledger('gateway-2').next('device-9', { id: 'forged' })
    const broker = await connectTo(bench.url)
    const publisher = broker.client.createPublisher({ confirm: true })
    await publisher.send(
      {
        exchange: 'tidegate.events',
        routingKey: routingKey(partitionOf('device-9', bench.partitions), 'com.acme.climate'),
        durable: true,
        headers: { [names.letter]: letter?.letter, [names.replay]: 7 },
      },
      Buffer.from(other.text.replace('"data":', '"edited":{"by":"me"},"data":')),
    )
    await publisher.close()
    await broker.close()
    const rows = await until(async () => {
      const found = await bench.effects()
      expect(found).toHaveLength(1)
      return found
    })
    expect(rows[0]?.edited).toBeNull()
    expect((await bench.letterStates())[0]?.state).toBe('replaying')
  })

  test('is shown beforehand: how many, of what, of whom, and how many of them today’s schemas accept', async () => {
    await bench.startEffects()
    await fail(['device-1', 'device-2'], 2)
    await bench.rows(
      `insert into tidegate.group_states (consumer_group, state, actor, reason) values ('effects', 'paused', 'ada', 'repairs')`,
    )
    const preview = await bench.deeds.preview({ group: 'effects', device: 'device-1' })
    expect(preview).toMatchObject({
      letters: 2,
      byFingerprint: [{ group: 'effects', code: 'SITE_UNKNOWN', letters: 2 }],
      byDevice: [{ device: 'device-1', letters: 2 }],
      schema: { checked: 2, accepted: 2, refused: 0 },
      parked: [],
      heldGroups: [{ group: 'effects', state: 'paused', reason: 'repairs' }],
    })
    await expect(bench.deeds.preview({})).rejects.toMatchObject({ code: 'FILTER_EMPTY' })
  })
})
