import { expect, test } from 'vitest'
import { isProven, renderVerdict } from '../../../dev/report/verdict.ts'

const configFile = '.tidegate/dev/cloud-1.yaml'
const good = { events: 6384, missing: 0, first: [], intact: true }

test('who quits is told that nothing is missing and the chain is intact', () => {
  expect(renderVerdict(good, { waiting: 2, configFile })).toBe(
    'Audit: nothing missing of 6,384 acknowledged events, chain intact.',
  )
})

test('what waits in the outbox is not missing, and is named as waiting', () => {
  const waits = { ...good, missing: 41 }
  expect(isProven(waits, 41)).toBe(true)
  expect(renderVerdict(waits, { waiting: 41, configFile })).toBe(
    'Audit: chain intact; of 6,384 acknowledged events 6,343 are in the history. 41 wait in the outbox for the next start.',
  )
})

test('what is missing is named, with the command to look', () => {
  const first = Array.from({ length: 7 }, (_, n) => ({ source: '/devices/sensor-001', id: `event-${n}` }))
  const lossy = { ...good, missing: 7, first, intact: false }
  expect(isProven(lossy, 0)).toBe(false)
  expect(renderVerdict(lossy, { waiting: 0, configFile }).split('\n')).toEqual([
    'AUDIT: 7 of 6,384 acknowledged events are missing; chain BROKEN.',
    ...[0, 1, 2, 3, 4].map((n) => `  /devices/sensor-001 event-${n}`),
    '  and 2 more',
    `To look while it runs: npx tidegate audit --config ${configFile}`,
  ])
})

test('a broken chain is no proof, though nothing is missing', () => {
  expect(isProven({ ...good, intact: false }, 0)).toBe(false)
  expect(renderVerdict({ ...good, intact: false }, { waiting: 0, configFile })).toContain('chain BROKEN')
})

test('nothing is said of what was not audited', () => {
  expect(renderVerdict(undefined, { waiting: 3, configFile })).toBe(
    'Nothing was audited. 3 wait in the outbox for the next start.',
  )
})
