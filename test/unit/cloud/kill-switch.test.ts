import { expect, test } from 'vitest'
import { KillSwitch } from '../../../cloud/protection/kill-switch.ts'

function setUp(): { killSwitch: KillSwitch; time: { nowMs: number } } {
  const time = { nowMs: 0 }
  const killSwitch = new KillSwitch({ after: 100, share: 0.5, windowMs: 60_000 }, () => time.nowMs)
  return { killSwitch, time }
}

test('trips when half of the devices fail, and says how many', () => {
  const { killSwitch } = setUp()
  for (let event = 0; event < 99; event++) killSwitch.tried(`device-${event % 10}`, event % 10 < 5)
  expect(killSwitch.verdict()).toBeUndefined()
  killSwitch.tried('device-9', false)
  expect(killSwitch.verdict()).toBe('5 of 10 devices fail, of 100 events')
})

test('one sick device with many messages stops no fleet', () => {
  const { killSwitch } = setUp()
  for (let event = 0; event < 10_000; event++) killSwitch.tried('sick', true)
  for (let event = 0; event < 10; event++) killSwitch.tried(`device-${event}`, false)
  expect(killSwitch.verdict()).toBeUndefined()
})

test('nor does half of a fleet of four', () => {
  const { killSwitch } = setUp()
  for (let event = 0; event < 1_000; event++) killSwitch.tried(`device-${event % 4}`, event % 2 === 0)
  expect(killSwitch.verdict()).toBeUndefined()
})

test('counts what a device did last: one that came through again does not fail', () => {
  const { killSwitch } = setUp()
  for (let event = 0; event < 100; event++) killSwitch.tried(`device-${event % 10}`, true)
  expect(killSwitch.verdict()).toBeDefined()
  for (let device = 0; device < 10; device++) killSwitch.tried(`device-${device}`, false)
  expect(killSwitch.verdict()).toBeUndefined()
})

test('forgets what is older than its window', () => {
  const { killSwitch, time } = setUp()
  for (let event = 0; event < 200; event++) killSwitch.tried(`device-${event % 10}`, true)
  time.nowMs = 29_000
  expect(killSwitch.verdict()).toBeDefined()
  time.nowMs = 61_000
  expect(killSwitch.verdict()).toBeUndefined()
})

test('remembers a bounded number of devices, and trips by those (G7)', () => {
  const { killSwitch } = setUp()
  for (let event = 0; event < 50_000; event++) killSwitch.tried(`device-${event}`, true)
  expect(killSwitch.verdict()).toBe('10000 of 10000 devices fail, of 50000 events')
})

test('counts what waits behind a device that fails as failures, and judges by it once that has failed three times in a row', () => {
  const { killSwitch } = setUp()
  const devices = Array.from({ length: 10 }, (_, index) => `device-${index}`)
  const waited = (): boolean[] => devices.map((device) => killSwitch.waited(device))
  expect(waited()).not.toContain(true)
  for (const device of devices) killSwitch.tried(device, true)
  for (let times = 0; times < 7; times++) expect(waited()).not.toContain(true)
  for (const device of devices) killSwitch.tried(device, true)
  // What waited before any was seen to fail does not count.
  expect(killSwitch.verdict()).toBeUndefined()
  for (const device of devices) killSwitch.tried(device, true)
  expect(waited()).not.toContain(false)
  expect(killSwitch.verdict()).toBe('10 of 10 devices fail, of 110 events')
  killSwitch.tried('device-0', false)
  expect(waited()[0]).toBe(false)
})

test('keeps devices in its window behind which events wait, and no longer than these come', () => {
  const { killSwitch, time } = setUp()
  for (let event = 0; event < 10; event++) killSwitch.tried(`device-${event}`, true)
  for (; time.nowMs < 300_000; time.nowMs += 2_000)
    for (let event = 0; event < 10; event++) killSwitch.waited(`device-${event}`)
  expect(killSwitch.verdict()).toBeDefined()
  time.nowMs += 61_000
  expect(killSwitch.verdict()).toBeUndefined()
})
