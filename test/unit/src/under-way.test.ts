import { expect, test } from 'vitest'
import { UnderWay } from '../../../src/under-way.ts'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('who waits until nothing is under way waits for all that began before, and for what began meanwhile', async () => {
  const underWay = new UnderWay()
  await underWay.settled()
  underWay.begin()
  underWay.begin()
  let settled = false
  const waiting = underWay.settled().then(() => (settled = true))
  underWay.end()
  await turn()
  expect(settled).toBe(false)
  underWay.end()
  underWay.begin()
  await turn()
  expect(settled).toBe(false)
  underWay.end()
  await waiting
})

test('work is counted until it is settled, also when it fails, and its outcome is the caller’s', async () => {
  const underWay = new UnderWay()
  let fail!: (error: Error) => void
  const failing = underWay.track(new Promise((_, reject) => (fail = reject)))
  const waiting = underWay.settled()
  fail(new Error('the disk'))
  await expect(failing).rejects.toThrow('the disk')
  await waiting
  await expect(underWay.track(Promise.resolve(1))).resolves.toBe(1)
})

test('whoever waited for work that ended has gone on before a stop does, and what they began is waited for (G4)', async () => {
  const underWay = new UnderWay()
  const order: string[] = []
  let finish!: () => void
  const work = underWay.track(new Promise<void>((resolve) => (finish = resolve)))
  const behind = (async () => {
    await work.then(() => undefined)
    await Promise.resolve()
    order.push('the next begins')
    await underWay.track(turn())
    order.push('the next ends')
  })()
  const stopped = underWay.settled().then(() => order.push('the stop'))
  finish()
  await Promise.all([behind, stopped])
  expect(order).toEqual(['the next begins', 'the next ends', 'the stop'])
})
