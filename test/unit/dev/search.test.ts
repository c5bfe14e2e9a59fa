import { expect, test } from 'vitest'
import { renderEvidence, type Evidence } from '../../../dev/evidence/text.ts'
import { search, type Looked, type Lookout, type See } from '../../../dev/evidence/search.ts'
import { kindOf, locate, tally, type Sighting } from '../../../dev/evidence/whereabouts.ts'
import type { Identity } from '../../../dev/watch/history.ts'
import { formerDeadQueue, mirrorQueue, partitionQueue, rungName, wire } from '../../../src/contract/wire.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'

const groups = ['history', 'rollups']
const event: Identity = { source: '/devices/sensor-001', id: 'a' }
const other: Identity = { source: '/devices/sensor-001', id: 'b' }
const outbox: Sighting = { kind: 'outbox', folder: '/edge', epoch: 'E', sequence: 17 }
const inQueue = (group: string): Sighting => ({ kind: 'queue', group, queue: partitionQueue(group, 2) })
const onRung: Sighting = { kind: 'rung', group: 'history', queue: rungName('history', 5000) }
const letter = (group: string, state: string): Sighting => ({ kind: 'letter', group, letter: 7, state })
const dead = (group: string): Sighting => ({ kind: 'dead-letters', group, queue: mirrorQueue(group) })

test.each([
  [partitionQueue('history', 3), { kind: 'queue', group: 'history' }],
  [`${partitionQueue('rollups', 12)}.of-another-version`, { kind: 'queue', group: 'rollups' }],
  [rungName('history', 300), { kind: 'rung', group: 'history' }],
  [rungName('rollups', 1_800_000), { kind: 'rung', group: 'rollups' }],
  [formerDeadQueue('history'), { kind: 'dead-letters', group: 'history' }],
  [mirrorQueue('history'), { kind: 'dead-letters', group: 'history' }],
  [wire.unroutable, { kind: 'unroutable' }],
  ['historyish.00', { kind: 'other-queue' }],
])('the queue %s is known by its name', (queue, kind) => {
  expect(kindOf(queue, groups)).toEqual(kind)
})

test.each<[string, Sighting[], string, RegExp]>([
  ['the outbox alone', [outbox], 'outbox', /outbox \(epoch E, sequence 17\)$/],
  [
    'outbox and partition queue',
    [outbox, inQueue('history')],
    'queue',
    /partition queue history.*; in the gateway’s outbox/,
  ],
  ['a rung', [onRung], 'rung', /on the rung/],
  [
    'a letter of the history',
    [letter('history', 'open')],
    'letter',
    /a dead letter of history, open \(letter 7\)/,
  ],
  [
    'a letter that somebody discarded',
    [letter('history', 'discarded')],
    'elsewhere',
    /a copy is a dead letter of history, discarded/,
  ],
  ['a letter of another group', [letter('rollups', 'open')], 'elsewhere', /a dead letter of rollups/],
  ['the dead letters', [dead('history')], 'dead-letters', /among the dead letters, history/],
  ['what no group wanted', [{ kind: 'unroutable', queue: wire.unroutable }], 'unroutable', /no group wanted/],
  ['a store that was set aside', [{ ...outbox, kind: 'set-aside' }], 'set-aside', /set aside, \/edge/],
  ['the history, late', [{ kind: 'history' }, inQueue('history')], 'history', /by now/],
  ['another group’s queue alone', [inQueue('rollups')], 'elsewhere', /no way to the history.*queue rollups/],
  ['another group’s dead letters alone', [dead('rollups')], 'elsewhere', /no way to the history/],
  [
    'a foreign queue alone',
    [{ kind: 'other-queue', queue: 'q' }],
    'elsewhere',
    /queue q, which is none of ours/,
  ],
])('an event that was seen in %s is told to be there', (_, seen, where, words) => {
  expect(locate(event, seen, false)).toEqual({
    ...event,
    where,
    words: expect.stringMatching(words) as string,
  })
})

test('an event is called lost when it was seen nowhere, and never while something was not looked into', () => {
  expect(locate(event, [], false)).toMatchObject({ where: 'nowhere', words: 'nowhere: it is lost' })
  const unsure = locate(event, [], true)
  expect(unsure.where).toBe('not-found')
  expect(unsure.words).not.toMatch(/lost|nowhere/)
})

test('events are counted by place, the most first, whatever their sequence', () => {
  const located = [
    locate(other, [], false),
    ...[1, 2, 3].map((sequence) => locate({ ...event, id: `${sequence}` }, [{ ...outbox, sequence }], false)),
  ]
  expect(tally(located)).toEqual([
    { where: 'outbox', place: 'in the gateway’s outbox', events: 3 },
    { where: 'nowhere', place: 'nowhere: it is lost', events: 1 },
  ])
})

/** A place that shows, look by look, what is said here. */
function lookout(name: string, ...looks: (Identity[] | Error)[]): Lookout & { looks: number } {
  const made = {
    name,
    looks: 0,
    async look(see: See): Promise<Looked[]> {
      const shown = looks[Math.min(made.looks++, looks.length - 1)] ?? []
      if (shown instanceof Error) throw shown
      for (const one of shown) see(one, { kind: 'queue', group: 'history', queue: name })
      return [{ place: name, holds: shown.length, looked: shown.length }]
    },
  }
  return made
}

async function searched(
  lookouts: Lookout[],
  absent: (of: readonly Identity[]) => Identity[] = (of) => [...of],
) {
  const clock = new FakeClock()
  const work = search(
    [event, other],
    { lookouts, absent: async (of) => absent(of), clock },
    new AbortController().signal,
  )
  work.catch(() => undefined)
  await settled()
  await clock.advance(10_000)
  return work
}

test('the search looks no further once everything has been seen', async () => {
  const place = lookout('q', [event, other])
  const { located, blind } = await searched([place])
  expect(located.map(({ where }) => where)).toEqual(['queue', 'queue'])
  expect({ looks: place.looks, blind }).toEqual({ looks: 1, blind: [] })
})

test('an event that was between two places at the first look is found at the second', async () => {
  const { located } = await searched([lookout('rung', []), lookout('q', [event], [event, other])])
  expect(located.map(({ where }) => where)).toEqual(['queue', 'queue'])
})

test('an event that reached the history while it was looked for is not called lost', async () => {
  const { located } = await searched([lookout('q', [event])], (of) => of.filter(({ id }) => id !== 'b'))
  expect(located.map(({ where }) => where)).toEqual(['queue', 'history'])
})

test('a place that cannot be looked into is named, the others are looked into, and nothing is called lost', async () => {
  const { located, blind } = await searched([
    lookout('RabbitMQ', new Error('it is away')),
    lookout('q', [event]),
  ])
  expect(located.map(({ where }) => where)).toEqual(['queue', 'not-found'])
  expect(blind).toEqual(['RabbitMQ could not be looked into: it is away'])
})

test('a place that was looked into in part leaves open where the rest is', async () => {
  const place: Lookout = {
    name: 'RabbitMQ',
    look: async () => [{ place: 'q', holds: 9, looked: 5, blind: 'only the first 5 were looked at' }],
  }
  const { located, blind } = await searched([place])
  expect(located.map(({ where }) => where)).toEqual(['not-found', 'not-found'])
  expect(blind).toEqual(['only the first 5 were looked at'])
})

const evidence: Evidence = {
  folder: '/kept',
  file: '/kept/evidence.json',
  missing: 12_345,
  searched: 10_000,
  places: [
    { where: 'queue', place: 'in the partition queue q', events: 9_999 },
    { where: 'nowhere', place: 'nowhere: it is lost', events: 1 },
  ],
  looked: [
    { place: 'the outbox', holds: 0, looked: 0 },
    { place: 'q', holds: 20_001, looked: 20_000 },
  ],
  blind: ['q holds 20001 messages, and only the first 20000 were looked at'],
  accounted: 3,
  toLook: ['npx tidegate outbox inspect --data-dir /kept/edge'],
}

test('the evidence says how many are missing, where, what bounded the search, where it lies and how to look', () => {
  const missingEvents = [1, 2, 3, 4, 5, 6].map((n) => ({
    source: '/devices/sensor-001',
    id: `event-${n}`,
    words: 'nowhere: it is lost',
  }))
  const text = renderEvidence(evidence, missingEvents)
  for (const part of [
    '12,345 acknowledged events are missing',
    'the first 10,000 of them were looked for',
    '1  nowhere: it is lost',
    'Still held: q 20,001.',
    'only the first 20000 were looked at',
    'what is nowhere may be among them',
    'Nothing was deleted',
    '/kept/evidence.json',
    'tidegate outbox inspect',
    '/devices/sensor-001 event-5: nowhere: it is lost',
    'and 12,340 more: all of them are in /kept/evidence.json',
    'and to start afresh: rm -r /kept',
  ])
    expect(text).toContain(part)
})

test('books that are broken otherwise do not speak of missing events', () => {
  const text = renderEvidence({ ...evidence, missing: 0, searched: 0, places: [], blind: [] }, [])
  expect(text).not.toContain('missing')
  expect(text).toContain('/kept')
})
