import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Handshakes, sourceOf } from '../../../edge/mqtt/entrance/handshakes.ts'

interface Pool {
  enter: (name: string, address: string) => boolean
  /** The gateway comes to it, and it answers or does not. */
  begin: (name: string, speaks?: boolean) => void
  leave: (name: string) => void
  inside: () => string[]
  pass: (ms: number) => void
  handshakes: Handshakes
}

/** A pool whose clock is turned by hand; those in it by name, until they are displaced or have left. */
function pool(max: number, random: () => number = () => 0): Pool {
  let nowMs = 0
  const handshakes = new Handshakes({ max, random, monotonicMs: () => nowMs })
  const inside = new Map<string, { begins: () => void; leave: () => void }>()
  const spoken = new Set<string>()
  return {
    handshakes,
    enter(name, address) {
      const place = handshakes.enter({
        address,
        hasSpoken: () => spoken.has(name),
        displace: () => inside.delete(name),
      })
      if (place) inside.set(name, place)
      return place !== undefined
    },
    begin(name, speaks = true) {
      inside.get(name)?.begins()
      if (speaks) spoken.add(name)
    },
    leave(name) {
      inside.get(name)?.leave()
      inside.delete(name)
    },
    inside: () => [...inside.keys()],
    pass: (ms) => (nowMs += ms),
  }
}

/** Numbers from 0 to 1 in an order that repeats only after all of them. */
function drawing(): () => number {
  let at = 0
  return () => ((at += 0.618_033_988_75), at % 1)
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

  test('a newcomer of another source takes one of that which has most, and not of others (G7)', () => {
    const { enter, begin, inside } = pool(4, drawing())
    for (const name of ['a1', 'a2', 'a3']) enter(name, a)
    enter('b1', b)
    for (const name of inside()) begin(name)
    expect(enter('c1', c)).toBe(true)
    expect(inside()).toContain('b1')
    expect(inside().filter((name) => name.startsWith('a'))).toHaveLength(2)
  })

  test('who says nothing gives way first, then whom the gateway has not come to, then who has taken long (G7)', () => {
    const { enter, begin, pass, inside } = pool(4, drawing())
    for (const name of ['spoke', 'silent', 'waits', 'waits too']) enter(name, a)
    begin('spoke')
    begin('silent', false)
    pass(300)
    expect(enter('new', a)).toBe(true)
    expect(inside()).toEqual(['spoke', 'waits', 'waits too', 'new'])
    for (const name of ['new 2', 'new 3', 'new 4']) expect(enter(name, a)).toBe(true)
    expect(inside()).toContain('spoke')
    for (const name of inside()) begin(name)
    expect(enter('new 5', a)).toBe(false)
    pass(1000)
    expect(enter('new 6', a)).toBe(true)
    expect(inside()).toHaveLength(4)
  })

  test('who was begun with just now is not taken for silent: what it sent may not have been read yet (G7)', () => {
    const { enter, begin, pass, inside } = pool(2, drawing())
    enter('young', a)
    begin('young', false)
    enter('waits', a)
    pass(299)
    expect(enter('new', a)).toBe(true)
    expect(inside()).toEqual(['young', 'new'])
  })

  test('a fleet that comes at once does not end its own handshakes (G7)', () => {
    const { enter, begin, inside, pass } = pool(2, drawing())
    enter('a1', a)
    enter('a2', a)
    begin('a1')
    begin('a2')
    pass(999)
    expect(enter('a3', a)).toBe(false)
    expect(inside()).toEqual(['a1', 'a2'])
  })

  test('where many sources have one each a newcomer finds one that says nothing, wherever it is (G7)', () => {
    const { enter, begin, pass, inside } = pool(20, drawing())
    for (let index = 0; index < 20; index += 1) {
      enter(`s${index}`, `10.0.1.${index}`)
      begin(`s${index}`, index !== 13)
    }
    pass(400)
    let tries = 1
    while (!enter('new', b) && tries < 200) tries += 1
    expect(inside()).toContain('new')
    expect(inside()).not.toContain('s13')
  })

  test.for([
    ['says nothing', 400, 20, false],
    ['says something, and no more', 200, 20, true],
    ['says something, and no more, to those who take a second', 100, 1000, true],
  ] as const)(
    'whoever comes fast and %s keeps nobody of its own source out for certain (G7)',
    ([, perSecond, takesMs, speaks]) => {
      const { enter, begin, leave, pass, inside } = pool(200, drawing())
      let letIn = 0
      let stranger = 0
      const stepMs = 1000 / perSecond
      const strangers = (ms: number): void => {
        for (let step = 0; step < ms / stepMs; step += 1) {
          pass(stepMs)
          const name = `x${(stranger += 1)}`
          if (enter(name, a)) begin(name, speaks)
        }
      }
      strangers(5000)
      for (let round = 0; round < 50; round += 1) {
        const name = `device ${round}`
        if (enter(name, a)) begin(name)
        strangers(takesMs)
        if (inside().includes(name)) letIn += 1
        leave(name)
      }
      expect(letIn).toBeGreaterThan(25)
    },
  )

  test('whatever comes and goes, no more are in than there are places, and each counts once (G7)', () => {
    const steps = fc.array(
      fc.record({ what: fc.constantFrom('enter', 'begin', 'leave'), who: fc.nat(30), from: fc.nat(4) }),
    )
    fc.assert(
      fc.property(steps, (all) => {
        const { enter, begin, leave, inside, handshakes } = pool(5, drawing())
        for (const { what, who, from } of all) {
          if (what === 'enter' && !inside().includes(`${who}`)) enter(`${who}`, `10.0.0.${from}`)
          else if (what === 'begin') begin(`${who}`, from > 1)
          else if (what === 'leave') leave(`${who}`)
          expect(handshakes.size).toBe(inside().length)
          expect(handshakes.size).toBeLessThanOrEqual(5)
        }
      }),
    )
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
