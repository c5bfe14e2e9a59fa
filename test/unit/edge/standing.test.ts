import { expect, test } from 'vitest'
import type { Authorities, Authority, Credential, Step } from '../../../edge/mqtt/trust/credential.ts'
import { parseDenied } from '../../../src/contract/denied.ts'
import { entryFaultOf, faultOf, type TrustInForce } from '../../../edge/mqtt/trust/judgement.ts'
import type { PublishedInForce } from '../../../edge/mqtt/trust/published.ts'
import { type Guest, Standing, StandingLost } from '../../../edge/mqtt/trust/standing.ts'
import { FakeClock } from '../../support/fakes/clock.ts'

const dayMs = 86_400_000

test('a list of who is denied is read line by line, comments and colons and leading zeros aside', () => {
  const text =
    '# lost in May\n\ndevice boiler-7 # red one\r\n  serial 00:4a:FF\nserial 4AFE\nserial -0B\nend # of it\n'
  const { devices, serials } = parseDenied(text, 'denied.txt')
  expect([...devices]).toEqual(['boiler-7'])
  expect([...serials]).toEqual(['4AFF', '4AFE', 'F5'])
  for (const nobody of ['end', '# nobody\nend\n\n# really\n'])
    expect(parseDenied(nobody, 'denied.txt').devices.size).toBe(0)
})

test('a list of who is denied that has lost its end, wherever it was cut, denies nobody less: it is a fault', () => {
  const whole = '# lost\ndevice boiler-7\nserial 4AFF\nend\n'
  expect(parseDenied(whole.trimEnd(), 'denied.txt').devices.size).toBe(1)
  for (let length = 0; length < whole.trimEnd().length; length++)
    expect(() => parseDenied(whole.slice(0, length), '/etc/denied'), String(length)).toThrowError(
      expect.objectContaining({ code: 'DENIED_INVALID' }) as Error,
    )
  expect(() => parseDenied('', '/etc/denied')).toThrow('/etc/denied is cut off: its last line is not `end`')
  expect(() => parseDenied('end\ndevice a\nend\n', 'x')).toThrow(/line 2 is behind its end, line 3 is behind/)
})

test('each line that cannot be read is told with its number, and none is passed over', () => {
  const bad = [
    'device',
    'device a/b',
    'device a b',
    'serial xyz',
    'serial',
    'serial -',
    'serial :',
    'serial 4-A',
    'boiler-7',
    'Device a',
  ]
  for (const line of bad)
    expect(() => parseDenied(`device a\n${line}\nend\n`, '/etc/denied')).toThrowError(
      expect.objectContaining({
        code: 'DENIED_INVALID',
        message: `/etc/denied has lines that cannot be read: line 2: ${JSON.stringify(line)}`,
      }) as Error,
    )
  const many = Array.from({ length: 8 }, () => 'no').join('\n')
  expect(() => parseDenied(many, 'x')).toThrow(/line 5: "no", and 3 more$/)
})

const step = (identity: string, more: Partial<Step> = {}): Step => ({
  identity,
  serial: `S-${identity}`,
  notBeforeMs: -100 * dayMs,
  notAfterMs: 100 * dayMs,
  issuers: [],
  isRoot: false,
  ...more,
})

/** CAs of ours: roots, unless it is said who has signed them. */
const authorities = (...identities: (string | Step)[]): Authorities => {
  const steps = identities.map((one) =>
    typeof one === 'string' ? step(one, { issuers: [one], isRoot: true }) : one,
  )
  const known = new Map<string, Authority[]>()
  for (const one of steps)
    known.set(one.identity, [...(known.get(one.identity) ?? []), { ...one, certificate: {} as never }])
  return known
}

function credential(deviceId: string, leaf: Partial<Step> = {}, ...sent: Step[]): Credential {
  return { deviceId, leaf: step(deviceId, { issuers: ['ca'], notAfterMs: 10 * dayMs, ...leaf }), sent }
}

function trust(
  more: Partial<TrustInForce> & { authorities?: Authorities; revoked?: string[]; nextUpdateMs?: number } = {},
): TrustInForce {
  const { authorities: given = authorities('ca'), revoked = [], nextUpdateMs = 5 * dayMs, ...rest } = more
  return {
    cas: { authorities: given } as never,
    pair: {} as never,
    denied: { devices: new Set(), serials: new Set() },
    lists: {
      byIssuer: new Map(),
      revoked: revoked.length,
      nextUpdateMs,
      warnings: [],
      has: ({ issuer, serial }) => revoked.includes(`${issuer} ${serial}`),
      isStale: (issuer, nowMs) => issuer === 'ca' && nowMs > nextUpdateMs,
    },
    ...rest,
  }
}

const reasonOf = (who: Credential, what: TrustInForce, nowMs = 0): string | undefined =>
  faultOf(who, what, nowMs)?.reason

test('who is denied, revoked, expired, or of a CA that is gone has to go, and nobody else', () => {
  const a = credential('a')
  expect(reasonOf(a, trust())).toBeUndefined()
  expect(reasonOf(a, trust({ lists: undefined }))).toBeUndefined()
  expect(reasonOf(a, trust({ denied: { devices: new Set(['a']), serials: new Set() } }))).toBe('denied')
  expect(reasonOf(a, trust({ denied: { devices: new Set(), serials: new Set(['S-a']) } }))).toBe('denied')
  expect(
    reasonOf(a, trust({ denied: { devices: new Set(['b', 'A']), serials: new Set(['S']) } })),
  ).toBeUndefined()
  expect(reasonOf(a, trust({ revoked: ['ca S-a'] }))).toBe('revoked-certificate')
  expect(reasonOf(a, trust({ revoked: ['other S-a', 'ca S-b'] }))).toBeUndefined()
  expect(reasonOf(a, trust({ authorities: authorities('other') }))).toBe('unknown-ca')
  expect(reasonOf(a, trust(), 10 * dayMs)).toBeUndefined()
  expect(reasonOf(a, trust(), 10 * dayMs + 1)).toBe('expired-certificate')
})

test('who is out by the files or by the published lists is out, and a list of either that counts is enough', () => {
  const a = credential('a')
  const { lists, denied: nobody } = trust()
  const published = (more: Partial<PublishedInForce>): Partial<TrustInForce> => ({
    published: { number: 7, issuedMs: 0, lists: undefined, denied: nobody, digest: '', key: '', ...more },
  })
  const named = { devices: new Set(['a']), serials: new Set<string>() }
  const byNumber = { devices: new Set<string>(), serials: new Set(['S-a']) }
  expect(reasonOf(a, trust(published({})))).toBeUndefined()
  expect(reasonOf(a, trust(published({ denied: named })))).toBe('denied')
  expect(reasonOf(a, trust(published({ denied: byNumber })))).toBe('denied')
  const revoking = trust({ revoked: ['ca S-a'] }).lists
  expect(reasonOf(a, trust(published({ lists: revoking })))).toBe('revoked-certificate')
  expect(reasonOf(a, trust({ lists: undefined, ...published({ lists: revoking }) }))).toBe(
    'revoked-certificate',
  )
  expect(reasonOf(a, trust({ revoked: ['ca S-a'], ...published({ lists }) }))).toBe('revoked-certificate')
  expect(reasonOf(a, trust({ denied: named, ...published({}) }))).toBe('denied')

  const entry = (what: TrustInForce): string | undefined =>
    entryFaultOf(a, what, { nowMs: 7 * dayMs, stale: 'refuse' })?.reason
  const fresh = trust({ nextUpdateMs: 9 * dayMs }).lists
  expect(entry(trust({ ...published({ lists }) }))).toBe('stale-crl')
  expect(entry(trust({ ...published({ lists: fresh }) }))).toBeUndefined()
  expect(entry(trust({ lists: fresh, ...published({ lists }) }))).toBeUndefined()
  expect(entry(trust({ lists: undefined, ...published({ lists }) }))).toBe('stale-crl')
  expect(entry(trust({ lists: undefined, ...published({}) }))).toBeUndefined()
  const unread = { publishedUnread: true }
  expect(entry(trust({ lists: undefined, ...unread }))).toBe('stale-crl')
  expect(entry(trust({ lists: fresh, ...unread }))).toBeUndefined()
})

test('what is against an intermediate, or ends with it or the CA, is against the device below it', () => {
  const middle = step('middle', { issuers: ['ca'], notAfterMs: 50 * dayMs })
  const far = credential('a', { issuers: ['middle'], notAfterMs: 500 * dayMs }, middle)
  expect(reasonOf(far, trust())).toBeUndefined()
  expect(reasonOf(far, trust({ revoked: ['ca S-middle'] }))).toBe('revoked-certificate')
  expect(reasonOf(far, trust({ denied: { devices: new Set(), serials: new Set(['S-middle']) } }))).toBe(
    'denied',
  )
  expect(reasonOf(far, trust(), 50 * dayMs)).toBeUndefined()
  expect(reasonOf(far, trust(), 50 * dayMs + 1)).toBe('expired-certificate')
  const own = credential('a', { issuers: ['ca'], notAfterMs: 500 * dayMs })
  expect(reasonOf(own, trust(), 100 * dayMs + 1)).toBe('expired-certificate')
})

const below = (...sent: Step[]): Credential => credential('a', { issuers: ['middle'] }, ...sent)

test('of several ways up all are looked at: one that is taken back counts, whichever TLS has gone', () => {
  const real = step('middle', { issuers: ['ca'], serial: 'REAL' })
  const other = step('middle', { issuers: ['other'], serial: 'OTHER' })
  const roots = authorities('ca', 'other')
  const revoked = trust({ authorities: roots, revoked: ['ca REAL'] })
  for (const sent of [[real], [other, real], [real, other]])
    expect(reasonOf(below(...sent), revoked)).toBe('revoked-certificate')
  expect(reasonOf(below(other), revoked)).toBeUndefined()
  const ours = authorities('ca', 'other', real)
  expect(reasonOf(below(other), trust({ authorities: ours, revoked: ['ca REAL'] }))).toBe(
    'revoked-certificate',
  )
  // Three certificates that have signed one another in a ring lead nowhere, and end.
  const ring = [
    step('middle', { issuers: ['x'] }),
    step('x', { issuers: ['y'] }),
    step('y', { issuers: ['x'] }),
  ]
  expect(reasonOf(below(...ring), revoked)).toBe('unknown-ca')
})

test('a certificate of the same subject and key that is over, or yet to come, says nothing for or against a device', () => {
  const real = step('middle', { issuers: ['ca'] })
  for (const dates of [{ notAfterMs: -1 }, { notBeforeMs: 1 }]) {
    const twin = step('middle', { issuers: ['ca'], serial: 'TWIN', ...dates })
    const twins = credential('a', { issuers: ['middle'] }, twin, real)
    expect(reasonOf(twins, trust({ revoked: ['ca TWIN'] }))).toBeUndefined()
    expect(reasonOf(twins, trust({ revoked: ['ca S-middle'] }))).toBe('revoked-certificate')
    expect(reasonOf(credential('a', { issuers: ['middle'] }, twin), trust())).toBe('expired-certificate')
  }
})

test('a CA that was signed by two roots is trusted for either, until both are gone', () => {
  const twice = [
    step('middle', { issuers: ['ca'], serial: 'ONE' }),
    step('middle', { issuers: ['other'], serial: 'TWO', notAfterMs: 5 * dayMs }),
  ]
  expect(reasonOf(below(), trust({ authorities: authorities('ca', ...twice) }))).toBeUndefined()
  expect(reasonOf(below(), trust({ authorities: authorities('other', ...twice) }))).toBeUndefined()
  expect(reasonOf(below(), trust({ authorities: authorities('other', ...twice) }), 6 * dayMs)).toBe(
    'expired-certificate',
  )
  expect(reasonOf(below(), trust({ authorities: authorities(...twice) }))).toBe('unknown-ca')
})

test('a list out of date is gone by or keeps out, as configured; who is on it is kept out either way', () => {
  const late = 5 * dayMs + 1
  const entry = (id: string, stale: 'accept' | 'refuse', nowMs: number): string | undefined =>
    entryFaultOf(credential(id), trust({ revoked: ['ca S-b'] }), { nowMs, stale })?.reason
  expect(entry('a', 'accept', late)).toBeUndefined()
  expect(entry('a', 'refuse', late)).toBe('stale-crl')
  expect(entry('a', 'refuse', late - 1)).toBeUndefined()
  expect(entry('b', 'accept', late)).toBe('revoked-certificate')
  expect(entry('b', 'refuse', late)).toBe('revoked-certificate')
  // Nobody who is connected goes because a list came late.
  expect(reasonOf(credential('a'), trust(), late)).toBeUndefined()
})

class FakeGuest implements Guest {
  readonly ended: string[] = []
  #onClose = (): void => {}

  once(_: 'close', listener: () => void): void {
    this.#onClose = listener
  }

  destroy(error: Error): void {
    this.ended.push(error instanceof StandingLost ? error.reason : error.message)
    this.close()
  }

  close(): void {
    this.#onClose()
  }
}

test('each connection is ended once, at its own moment, and those that are over are forgotten', () => {
  const clock = new FakeClock(0)
  let inForce = trust()
  const standing = new Standing({ trust: () => inForce, stale: 'accept', clock })
  const guests = new Map(['a', 'b', 'c', 'd', 'e'].map((id) => [id, new FakeGuest()]))
  for (const [id, guest] of guests)
    standing.enter(guest, credential(id, { notAfterMs: (id === 'd' ? 2 : 10) * dayMs }))
  guests.get('e')?.close()
  const ended = (): string[] => [...guests].flatMap(([id, guest]) => guest.ended.map((why) => `${id} ${why}`))

  standing.review()
  standing.pass()
  expect(ended()).toEqual([])
  inForce = trust({ revoked: ['ca S-b', 'ca S-e'] })
  standing.review()
  expect(ended()).toEqual(['b revoked-certificate'])
  clock.jump(2 * dayMs)
  standing.pass()
  expect(ended()).toEqual(['b revoked-certificate'])
  clock.jump(1)
  standing.pass()
  standing.pass()
  expect(ended()).toEqual(['b revoked-certificate', 'd expired-certificate'])
  // Those that are left end on their own day.
  clock.jump(8 * dayMs)
  standing.pass()
  expect(ended().filter((one) => /^[ac]/.test(one))).toEqual([
    'a expired-certificate',
    'c expired-certificate',
  ])
})

const root = (notAfterMs: number): Step => step('ca', { issuers: ['ca'], isRoot: true, notAfterMs })

test('a CA that was renewed with its key goes on: its devices stay when the old one ends, and no longer than the new one', () => {
  const clock = new FakeClock(0)
  let inForce = trust({ authorities: authorities(root(5 * dayMs)) })
  const standing = new Standing({ trust: () => inForce, stale: 'accept', clock })
  const guest = new FakeGuest()
  standing.enter(guest, credential('a', { notAfterMs: 50 * dayMs }))
  inForce = trust({ authorities: authorities(root(5 * dayMs), root(20 * dayMs)) })
  standing.review()
  clock.jump(5 * dayMs + 1)
  standing.pass()
  expect(guest.ended).toEqual([])
  clock.jump(15 * dayMs)
  standing.pass()
  expect(guest.ended).toEqual(['expired-certificate'])
})
