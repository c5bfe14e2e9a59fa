import { describe, expect, test } from 'vitest'
import { Handshakes, sourceOf } from '../../../edge/mqtt/handshakes.ts'

/** A pool whose clock is turned by hand; those in it by name, until they are displaced or have left. */
function pool(max: number): {
  enter: (name: string, address: string, hasBegun?: boolean) => boolean
  leave: (name: string) => void
  begin: (name: string) => void
  inside: () => string[]
  pass: (ms: number) => void
  handshakes: Handshakes
} {
  let nowMs = 0
  const handshakes = new Handshakes({ max, patienceMs: 3000, monotonicMs: () => nowMs })
  const inside = new Map<string, () => void>()
  const begun = new Set<string>()
  return {
    handshakes,
    enter(name, address, hasBegun = false) {
      if (hasBegun) begun.add(name)
      const leave = handshakes.enter({
        address,
        hasBegun: () => begun.has(name),
        displace: () => inside.delete(name),
      })
      if (leave) inside.set(name, leave)
      return leave !== undefined
    },
    leave(name) {
      inside.get(name)?.()
      inside.delete(name)
    },
    begin: (name) => void begun.add(name),
    inside: () => [...inside.keys()],
    pass: (ms) => (nowMs += ms),
  }
}

const [a, b, c] = ['10.0.0.1', '10.0.0.2', '10.0.0.3'] as const

describe('the places of those in their handshake', () => {
  test('one source may have all of them while nobody else wants one (G7)', () => {
    const { enter, inside, leave, handshakes } = pool(3)
    for (const name of ['a1', 'a2', 'a3']) expect(enter(name, a)).toBe(true)
    expect(inside()).toEqual(['a1', 'a2', 'a3'])
    leave('a2')
    leave('a2')
    expect(handshakes.size).toBe(2)
  })

  test('a newcomer of another source takes one of that which has most, the oldest that has said nothing first (G7)', () => {
    const { enter, inside } = pool(4)
    enter('a1', a, true)
    enter('a2', a)
    enter('b1', b)
    enter('a3', a)
    expect(enter('c1', c)).toBe(true)
    expect(inside()).toEqual(['a1', 'b1', 'a3', 'c1'])
  })

  test('of that which has most one that has begun gives way too, if all of its have (G7)', () => {
    const { enter, inside } = pool(3)
    for (const name of ['a1', 'a2', 'a3']) enter(name, a, true)
    expect(enter('b1', b)).toBe(true)
    expect(inside()).toEqual(['a2', 'a3', 'b1'])
  })

  test('a fleet that comes at once does not end its own handshakes, but what has taken long (G7)', () => {
    const { enter, inside, pass } = pool(2)
    enter('a1', a, true)
    pass(2999)
    enter('a2', a, true)
    expect(enter('a3', a)).toBe(false)
    pass(1)
    expect(enter('a4', a)).toBe(true)
    expect(inside()).toEqual(['a2', 'a4'])
  })

  test('who says nothing gives way to the next of its own source, however young it is (G7)', () => {
    const { enter, inside, begin } = pool(3)
    for (const name of ['a1', 'a2', 'a3']) enter(name, a)
    begin('a1')
    for (const name of ['a4', 'a5', 'a6']) expect(enter(name, a)).toBe(true)
    expect(inside()).toEqual(['a1', 'a5', 'a6'])
  })

  test('sources that have no more than the newcomer’s would have lose nothing to it, unless it says nothing (G7)', () => {
    const { enter, inside } = pool(2)
    enter('a1', a, true)
    enter('b1', b, true)
    expect(enter('c1', c)).toBe(false)
    expect(inside()).toEqual(['a1', 'b1'])
  })

  test('one displaced and gone counts once (G7)', () => {
    const { enter, leave, handshakes } = pool(1)
    enter('a1', a)
    enter('a2', a)
    leave('a1')
    expect(handshakes.size).toBe(1)
    leave('a2')
    expect(handshakes.size).toBe(0)
  })
})

test.for([
  ['10.1.2.3', '10.1.2.3'],
  ['::ffff:10.1.2.3', '10.1.2.3'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8:1:2::9', '2001:db8:1:2::/64'],
  ['2001:0DB8:0001:0002::', '2001:db8:1:2::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['unknown', 'unknown'],
])('the source of %s is %s', ([address, source]) => {
  expect(sourceOf(address as string)).toBe(source)
})
