import { expect, test } from 'vitest'
import { Guesses } from '../../../edge/mqtt/entrance/guesses.ts'
import { PasswordCheck, type Verdict, waitMsMax } from '../../../edge/mqtt/entrance/password-check.ts'
import { claimsMax, claimsOfSourceMax } from '../../../edge/mqtt/entrance/waiting-claims.ts'
import type { Derive } from '../../../edge/users/password.ts'
import { cheapHash, cheapPasswords } from '../../support/edge/passwords.ts'
import { FakeClock } from '../../support/fakes/clock.ts'

const always = new AbortController().signal

function checking(passwords: Record<string, string>, derive?: Derive) {
  const clock = new FakeClock()
  const users = new Map(Object.entries(passwords).map(([name, password]) => [name, cheapHash(password)]))
  const cheap = cheapPasswords()
  const check = new PasswordCheck({ users: () => users, clock, derive: derive ?? cheap.derive })
  const ask = (
    deviceId: string,
    password: string,
    address = '192.0.2.1',
    signal = always,
  ): Promise<Verdict> => check.check({ deviceId, password: Buffer.from(password), address }, signal)
  return { clock, users, ask, asked: cheap.asked, check }
}

test('a password that was right is remembered as long as the file has the same hash, and no other is right by it', async () => {
  const { ask, asked, users } = checking({ a1: 'one', a2: 'two' })
  const right = { passwordHash: users.get('a1') }
  expect(await ask('a1', 'one')).toEqual(right)
  expect(await ask('a1', 'one', '198.51.100.9')).toEqual(right)
  expect(asked.times).toBe(1)
  expect(await ask('a1', 'two')).toBe('wrong')
  expect(await ask('a2', 'one')).toBe('wrong')
  expect(asked.times).toBe(3)
  users.set('a1', cheapHash('another'))
  expect(await ask('a1', 'one')).toBe('wrong')
  users.delete('a1')
  expect(await ask('a1', 'another')).toBe('wrong')
})

test('who is not there is looked at as dearly as who is (G7)', async () => {
  const { ask, asked } = checking({ a1: 'one' })
  expect(await ask('nobody', 'one')).toBe('wrong')
  expect(asked.times).toBe(1)
})

test('one password is looked at in a time, and sources take turns, however many wait behind one of them (G7)', async () => {
  const order: string[] = []
  let atOnce = 0
  const derive: Derive = async (password) => {
    expect(++atOnce).toBe(1)
    await new Promise(setImmediate)
    atOnce -= 1
    order.push(password.toString())
    return Buffer.alloc(32)
  }
  const { ask } = checking({}, derive)
  const crowd = Array.from({ length: 5 }, (_, index) => ask(`x-${index}`, `crowd-${index}`))
  await Promise.all([...crowd, ask('a1', 'one', '198.51.100.1'), ask('a2', 'two', '2001:db8::1')])
  expect(order).toEqual(['crowd-0', 'crowd-1', 'one', 'two', 'crowd-2', 'crowd-3', 'crowd-4'])
})

test('what waits for a client that has gone is not looked at; what was begun is remembered for when it comes again', async () => {
  const { ask, asked } = checking({ a1: 'one', a2: 'two' })
  const gone = new AbortController()
  const [first, second] = [ask('a1', 'one', 'x', gone.signal), ask('a2', 'two', 'x', gone.signal)]
  gone.abort()
  expect([await first, await second]).toEqual(['left', 'left'])
  expect(await ask('a1', 'one')).toHaveProperty('passwordHash')
  expect(asked.times).toBe(1)
})

test('a digest that cannot be computed fails that client, and the next is looked at', async () => {
  let fails = true
  const cheap = cheapPasswords()
  const { ask } = checking({ a1: 'one', a2: 'two' }, (password, hash) => {
    if (!fails) return cheap.derive(password, hash)
    fails = false
    return Promise.reject(new Error('no memory'))
  })
  const [first, second] = [ask('a1', 'one'), ask('a2', 'two')]
  await expect(first).rejects.toThrow('no memory')
  expect(await second).toHaveProperty('passwordHash')
})

test('a device that goes on with an old password is not looked at for ten seconds, and its neighbours are (G7)', async () => {
  const { ask, asked, clock } = checking({ a1: 'one', a2: 'two' })
  for (let time = 0; time < 5; time += 1) expect(await ask('a1', 'old')).toBe('wrong')
  expect(await ask('a1', 'old')).toBe('too-often')
  // Not even the right one, which it cannot have from elsewhere.
  expect(await ask('a1', 'one')).toBe('too-often')
  expect(asked.times).toBe(5)
  expect(await ask('a2', 'two')).toHaveProperty('passwordHash')
  // Nor does it keep out whoever has its name elsewhere.
  expect(await ask('a1', 'one', '198.51.100.1')).toHaveProperty('passwordHash')
  await clock.advance(10_000)
  expect(await ask('a1', 'old')).toBe('wrong')
})

test('what is remembered of those who were wrong is bounded, whatever they call themselves (G7)', () => {
  const guesses = new Guesses(() => 0)
  for (let index = 0; index < 30_000; index += 1) guesses.failed(`source-${index}`, 'a1')
  expect(guesses.size).toBe(20_000)
  for (let index = 0; index < 25; index += 1) guesses.failed('source', `x-${index}`)
  expect(guesses.mayTry('source', 'a1')).toBe(false)
  expect(guesses.mayTry('another', 'a1')).toBe(true)
})

/** Nothing is ever found out. */
const never: Derive = () => new Promise(() => {})
const verdictOf = (asking: Promise<Verdict>): Promise<Verdict | 'waits'> =>
  Promise.race([asking, new Promise<'waits'>((resolve) => setImmediate(() => resolve('waits')))])

test('nothing is left in the queue of clients that have gone, nor is what their password came in kept (G7)', async () => {
  const { ask, check } = checking({}, never)
  void ask('begun', 'x')
  const gone = new AbortController()
  const all = Array.from({ length: 200 }, (_, index) => ask(`x-${index}`, 'x', '192.0.2.1', gone.signal))
  expect(check.size).toBe(201)
  gone.abort()
  expect(new Set(await Promise.all(all))).toEqual(new Set(['left']))
  expect(check.size).toBe(1)
  const after = AbortSignal.abort()
  for (let index = 0; index < 20_000; index += 1) expect(await ask('x', `${index}`, 'y', after)).toBe('left')
  expect(check.size).toBe(1)
})

test('a password is taken out of what it came in, which may be written over', async () => {
  const { check, users } = checking({ a1: 'one', a2: 'two' })
  const chunk = Buffer.from('onetwo')
  const claim = { address: 'x', deviceId: 'a1', password: chunk.subarray(0, 3) }
  const first = check.check(claim, always)
  const second = check.check({ ...claim, deviceId: 'a2', password: chunk.subarray(3) }, always)
  chunk.fill(0)
  expect(await first).toEqual({ passwordHash: users.get('a1') })
  expect(await second).toEqual({ passwordHash: users.get('a2') })
})

test('of one source so many wait and no more, and a crowd of sources keeps out itself alone (G7)', async () => {
  const { ask, check } = checking({}, never)
  void ask('begun', 'x', 'other')
  const crowd = Array.from({ length: claimsOfSourceMax + 1 }, (_, index) => ask(`x-${index}`, 'x', 'crowd-0'))
  expect(await verdictOf(crowd.at(-1) as Promise<Verdict>)).toBe('busy')
  for (let source = 1; check.size <= claimsMax; source += 1)
    for (let index = 0; index < claimsOfSourceMax; index += 1)
      crowd.push(ask(`x-${index}`, 'x', `crowd-${source}`))
  expect(check.size).toBe(claimsMax + 1)
  expect(await verdictOf(ask('a1', 'one'))).toBe('waits')
  expect(check.size).toBe(claimsMax + 1)
  const verdicts = await Promise.all(crowd.map(verdictOf))
  expect(verdicts.filter((verdict) => verdict === 'busy')).toHaveLength(2)
  expect(verdicts.lastIndexOf('busy') % claimsOfSourceMax).toBe(0)
})

test('who asks the same as one that waits waits with it, and costs nothing more', async () => {
  const { ask, asked, check } = checking({ a1: 'one' })
  const [gone, all] = [new AbortController(), [] as Promise<Verdict>[]]
  const left = ask('a1', 'one', 'x', gone.signal)
  for (let time = 0; time < 100; time += 1) all.push(ask('a1', 'one', 'x'))
  const others = [ask('a1', 'old', 'x'), ask('a1', 'old', 'x'), ask('a1', 'old', 'x')]
  expect(check.size).toBe(2)
  gone.abort()
  expect(await left).toBe('left')
  for (const verdict of await Promise.all(all)) expect(verdict).toHaveProperty('passwordHash')
  expect(await Promise.all(others)).toEqual(['wrong', 'wrong', 'wrong'])
  expect(asked.times).toBe(2)
  expect(check.size).toBe(0)
})

test('who has waited for a minute is told to come again, and its password is not looked at any more (G7)', async () => {
  const { ask, clock, check } = checking({}, never)
  const [begun, waiting] = [ask('begun', 'x'), ask('a1', 'one')]
  await clock.advance(waitMsMax - 1)
  expect([await verdictOf(begun), await verdictOf(waiting)]).toEqual(['waits', 'waits'])
  await clock.advance(1)
  expect([await begun, await waiting]).toEqual(['busy', 'busy'])
  expect(check.size).toBe(1)
})

test('what is remembered of a device says yes or no to no more than ten guesses of one source at once (G7)', async () => {
  const { ask, clock } = checking({ a1: 'one' })
  expect(await ask('a1', 'one')).toHaveProperty('passwordHash')
  for (let guess = 0; guess < 100; guess += 1) await ask('a1', `guess-${guess}`, '198.51.100.6')
  // Not even the right one is found by that.
  expect(await ask('a1', 'one', '198.51.100.6')).toBe('too-often')
  expect(await ask('a1', 'one')).toHaveProperty('passwordHash')
  await clock.advance(100)
  expect(await ask('a1', 'one', '198.51.100.6')).toHaveProperty('passwordHash')
})
