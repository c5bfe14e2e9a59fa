import { expect, test } from 'vitest'
import { Guesses } from '../../../edge/mqtt/entrance/guesses.ts'
import { PasswordCheck, type Verdict } from '../../../edge/mqtt/entrance/password-check.ts'
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
  return { clock, users, ask, asked: cheap.asked }
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
  expect(await second).toBe('left')
  expect(await first).toHaveProperty('passwordHash')
  expect(await ask('a1', 'one')).toHaveProperty('passwordHash')
  expect(asked.times).toBe(1)
})

test('a digest that cannot be computed fails that client, and the next is looked at', async () => {
  let fails = true
  const cheap = cheapPasswords()
  const { ask } = checking({ a1: 'one' }, (password, hash) => {
    if (!fails) return cheap.derive(password, hash)
    fails = false
    return Promise.reject(new Error('no memory'))
  })
  const [first, second] = [ask('a1', 'one'), ask('a1', 'one')]
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
