import { beforeEach, expect, test } from 'vitest'
import { givenBroker } from '../../../dev/stack/broker-way.ts'
import type { PlannedFault } from '../../../dev/faults/plan.ts'
import { createSaboteur, type Breakable, type Saboteur } from '../../../dev/faults/saboteur.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'

let clock: FakeClock
let did: string[]
let stack: Breakable
let saboteur: Saboteur

beforeEach(() => {
  clock = new FakeClock()
  did = []
  const victim = (name: string): Breakable['edge'] => ({
    kill: async () => void did.push(`${name} killed`),
    start: async () => void did.push(`${name} started`),
  })
  stack = {
    link: { set: ({ kind }) => did.push(`link ${kind}`) },
    edge: victim('edge'),
    clouds: [victim('cloud')],
    rabbit: victim('broker'),
    postgres: undefined,
  }
  saboteur = createSaboteur({ stack, clock, startedAtMs: 0 })
})

const never = new AbortController().signal

/** Does it, is stopped half-way, and gives back what was taken. */
async function breakOff(fault: PlannedFault): Promise<void> {
  const stopping = new AbortController()
  const injected = saboteur.inject(fault, stopping.signal)
  injected.catch(() => undefined)
  await settled()
  await clock.advance(fault.forMs / 2)
  stopping.abort()
  await expect(injected).rejects.toThrow('aborted')
  await clock.advance(100)
  await saboteur.restore(never)
}

test('an outage that is broken off ends with the link up, and is on record until then', async () => {
  await breakOff({ kind: 'link', mode: { kind: 'down' }, atMs: 0, forMs: 10_000 })
  expect(did).toEqual(['link down', 'link up'])
  await clock.advance(1000)
  expect(saboteur.records()).toEqual([{ kind: 'down', target: 'uplink', fromMs: 0, untilMs: 5100 }])
})

test('what was killed is started again when its kill is broken off', async () => {
  await breakOff({ kind: 'kill', target: 'broker', atMs: 0, forMs: 2000 })
  expect(did).toEqual(['broker killed', 'broker started'])
  await clock.advance(1000)
  expect(saboteur.records()).toEqual([{ kind: 'kill', target: 'broker', fromMs: 0, untilMs: 1100 }])
})

test('an outage by hand ends as well, and a kill under way is waited for', async () => {
  saboteur.setLink({ kind: 'stalled' })
  const killed = saboteur.inject({ kind: 'kill', target: 'edge', atMs: 0, forMs: 1000 }, never)
  await settled()
  const restored = saboteur.restore(never)
  await clock.advance(1000)
  await Promise.all([killed, restored])
  expect(did).toEqual(['link stalled', 'edge killed', 'link up', 'edge started'])
})

test('where nothing is taken away there is nothing to give back', async () => {
  await saboteur.restore(never)
  expect(did).toEqual([])
})

test('where the uplink passes no link, no fault of a link goes on record', () => {
  const unlinked = createSaboteur({ stack: { ...stack, link: undefined }, clock, startedAtMs: 0 })
  const said: string[] = []
  unlinked.onChange((text) => said.push(text))
  unlinked.setLink({ kind: 'down' })
  expect(unlinked.records()).toEqual([])
  expect(said).toEqual([expect.stringContaining('no link of ours')])
})

test('a link is put in the way of a broker given as amqp://, and of none whose certificate names its host', () => {
  expect(givenBroker('amqp://user:secret@broker.example').linkTo).toEqual({
    host: 'broker.example',
    port: 5672,
  })
  expect(givenBroker('amqps://user:secret@broker.example').linkTo).toBeUndefined()
})
