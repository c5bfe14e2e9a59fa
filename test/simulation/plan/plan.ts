import { type Chance, chance } from './chance.ts'
import { pickAwaiting, pickFocus } from './focus.ts'
import type { SendKind, Settings } from './settings.ts'
import { deedKinds, type Fault, type FaultKind, faultKinds, faultSpecs } from './fault-kinds.ts'

/** Everything a run is made of. The same plan always makes the same run. */
export interface Plan {
  seed: number
  settings: Settings
  sends: Send[]
  faults: Fault[]
}

/** What a device does at a moment. */
export interface Send {
  /** Its place in the plan that the seed made. */
  n: number
  atMs: number
  device: string
  qos: 0 | 1
  what: SendKind
  /** Of `repeat`: which of the device's earlier sends, counted back. */
  back: number
}

const kindOfSend: [SendKind, number][] = [
  ['reading', 52],
  ['alarm', 10],
  ['brief', 10],
  ['repeat', 8],
  ['malformed', 4],
  ['violation', 3],
  ['stumbles', 5],
  ['hopeless', 3],
  ['hangs', 2],
  ['disputed', 3],
]

/** Behind all other faults of a plan. */
const damageN = 1000
const forgeryN = 2000
const deedN = 3000
const comingAgainN = 4000

/** How long devices send and faults happen; then everything heals. */
export const activeMs = 60_000

export function makePlan(seed: number): Plan {
  const random = chance(seed, 'plan')
  const focus = pickFocus(chance(seed, 'focus')) ?? pickAwaiting(chance(seed, 'narrow'))
  const failsForGood = chance(seed, 'disk').one(0.5)
  const made = makeSettings(random)
  const settings = {
    ...made,
    ...makeWire(chance(seed, 'wire')),
    failsForGood,
    together: chance(seed, 'door').one(0.25),
    readsLate: chance(seed, 'reads').one(0.125),
    signsEvery: makeSigning(chance(seed, 'signing')),
    reservedShare: chance(seed, 'reserve').pick([0, 0.1, 0.3]),
    parking: makeParking(chance(seed, 'parking')),
    onFailure: chance(seed, 'on failure').pick<Settings['onFailure']>(['park', 'park', 'park', 'overtake']),
    workplace: chance(seed, 'workplace').one(1 / 8),
    ...makeVersions(chance(seed, 'versions'), made.devices),
    awaitsOnly: false,
    schemasEveryMs: makeSchemaChanges(chance(seed, 'schemas in use')),
    ...focus?.settings,
  }
  return {
    seed,
    settings,
    sends: makeSends(random, settings.devices, focus?.sends ?? kindOfSend),
    faults: [
      ...makeFaults(random, focus?.faults),
      ...makeDamage(chance(seed, 'damage')),
      ...makeForgeries(chance(seed, 'forgery')),
      ...(settings.workplace ? makeDeeds(chance(seed, 'deeds')) : []),
      ...(settings.workplace ? makeComingAgain(chance(seed, 'coming again')) : []),
    ],
  }
}

/** One run in four has a key: the others are as they were before anything was signed. */
function makeSigning(random: Chance): number | undefined {
  return random.one(0.25) ? random.pick([1, 3, 10]) : undefined
}

/** One run in two has devices of two versions, and a cloud that learns of the newer one some time later. */
function makeVersions(random: Chance, devices: readonly string[]): Pick<Settings, 'newer' | 'learnsAtMs'> {
  const isMixed = random.one(0.5)
  return {
    newer: isMixed ? devices.filter(() => random.one(0.5)) : [],
    learnsAtMs: random.whole(5_000, activeMs),
  }
}

/** One run in eight has a gateway whose schemas change while it runs. */
function makeSchemaChanges(random: Chance): number | undefined {
  return random.one(1 / 8) ? random.pick([300, 2000, 9000]) : undefined
}

/** One run in four finds the parking full now and then. */
function makeParking(random: Chance): Settings['parking'] {
  const concurrency = random.whole(1, 3)
  const isTight = random.one(0.25)
  const [devicesMax, eventsMax] = isTight ? [random.whole(1, 2), random.whole(1, 4)] : [1000, 1000]
  return { concurrency, devicesMax, eventsMax, eventsMaxPerDevice: isTight ? 2 : 1000 }
}

/** From a stream of its own, so that the rest of a seed is as it was before there were batches. */
function makeWire(
  random: Chance,
): Pick<Settings, 'uplinkBatchEventsMax' | 'uplinkBatchBytesMax' | 'uplinkSizeMax' | 'compress'> {
  return {
    uplinkBatchEventsMax: random.pick([1, 2, 5, 100]),
    uplinkBatchBytesMax: random.pick([1500, 65_536]),
    compress: random.one(0.5),
    uplinkSizeMax: random.one(0.1) ? random.whole(1, 3) : Infinity,
  }
}

function makeSettings(
  random: Chance,
): Omit<
  Settings,
  | keyof ReturnType<typeof makeWire>
  | 'failsForGood'
  | 'together'
  | 'readsLate'
  | 'signsEvery'
  | 'reservedShare'
  | 'parking'
  | 'onFailure'
  | 'workplace'
  | 'newer'
  | 'awaitsOnly'
  | 'schemasEveryMs'
  | 'learnsAtMs'
> {
  const tight = random.one(0.35)
  return {
    devices: Array.from({ length: random.whole(1, 5) }, (_, index) => `d${index}`),
    partitions: random.whole(1, 3),
    windowEvents: random.pick([4, 8, 20, 50]),
    confirmTimeoutMs: random.pick([5000, 15_000, 30_000]),
    batchEventsMax: random.pick([3, 10, 500]),
    waitingMax: random.pick([12, 24, 1000]),
    eventsMax: tight ? random.whole(3, 30) : 100_000,
    bytesMax: tight && random.one(0.5) ? random.whole(2000, 12_000) : 10_000_000,
    deviceShare: random.pick([0.3, 0.5, 1]),
    full: random.pick(['refuse', 'evict'] as const),
    catchUp: random.one(0.3) ? 'in-order' : 'live-first',
    inOrderBelow: random.pick([0, 5, 1000]),
    eventsPerSecond: random.one(0.3) ? random.pick([1, 5, 20]) : undefined,
    dedupCount: random.pick([8, 40, 100_000]),
    briefTtlMs: random.pick([2000, 15_000, 60_000]),
    reportIntervalMs: random.pick([0, 5000, 20_000]),
    clockSettleMs: random.pick([5000, 20_000, 60_000]),
    cloudInstances: random.pick([1, 1, 2, 3]),
    cloudBatchMax: random.pick([1, 4, 100]),
    cloudLanes: random.whole(1, 3),
    prefetch: random.pick([1, 5, 50]),
    ladderMs: random.pick([[1000], [2000, 5000], [1000, 3000, 10_000]]),
    handlerTimeoutMs: random.pick([3000, 10_000]),
    latencyMsMax: random.pick([2, 20, 200]),
  }
}

function makeSends(
  random: Chance,
  devices: readonly string[],
  kindOfSend: readonly [SendKind, number][],
): Send[] {
  const count = random.whole(15, 70)
  const total = kindOfSend.reduce((sum, [, weight]) => sum + weight, 0)
  const bursts = Array.from({ length: random.whole(1, 4) }, () => random.between(0, activeMs))
  const sends = Array.from({ length: count }, () => {
    let at = random.between(0, total)
    const [what] = kindOfSend.find(([, weight]) => (at -= weight) < 0) ?? ['reading' as const]
    const burst = random.one(0.5) ? random.pick(bursts) + random.between(0, 500) : undefined
    return {
      n: 0,
      atMs: Math.round(burst ?? random.between(0, activeMs)),
      device: random.pick(devices),
      qos: random.one(0.15) ? (0 as const) : (1 as const),
      what,
      back: random.whole(1, 5),
    }
  })
  return sends.toSorted((a, b) => a.atMs - b.atMs).map((send, n) => ({ ...send, n }))
}

function makeFaults(random: Chance, focused?: readonly FaultKind[]): Fault[] {
  // A run with few kinds of fault goes deep where one with all of them goes wide.
  const wide = random.one(0.5) ? faultKinds : sample(random, faultKinds, random.whole(2, 6))
  const kinds = focused ?? wide
  const faults = Array.from({ length: random.whole(3, 24) }, () => makeFault(random, random.pick(kinds)))
  return faults.toSorted((a, b) => a.atMs - b.atMs).map((fault, n) => ({ ...fault, n }))
}

/** One run in sixteen has a store whose newest write is damaged, so that each of its guarantees is met by damage too. */
function makeDamage(random: Chance): Fault[] {
  return random.one(1 / 16) ? [{ ...makeFault(random, 'log-torn'), n: damageN }] : []
}

/** One run in sixteen has an intruder. */
function makeForgeries(random: Chance): Fault[] {
  const count = random.one(1 / 16) ? random.whole(1, 3) : 0
  return Array.from({ length: count }, (_, index) => ({
    ...makeFault(random, 'forgery'),
    n: forgeryN + index,
  }))
}

/** What people do, and a kill of an instance now and then amid that. */
function makeDeeds(random: Chance): Fault[] {
  return Array.from({ length: random.whole(2, 10) }, (_, index) => ({
    ...makeFault(
      random,
      random.pick([...deedKinds, 'replay', 'replay', 'former-letter', 'fleet-fails', 'cloud-kill']),
    ),
    n: deedN + index,
  }))
}

/** In one such run in four letters of a former version come again when somebody has replayed them: by chance alone they hardly ever do. */
function makeComingAgain(random: Chance): Fault[] {
  if (!random.one(0.25)) return []
  const atMs = Math.round(random.between(0, activeMs / 2))
  const replayedMs = atMs + random.whole(500, 5000)
  return [
    { ...makeFault(random, 'ack-swallowed'), atMs },
    { ...makeFault(random, 'former-letter'), atMs },
    { ...makeFault(random, 'replay'), atMs: replayedMs },
  ].map((fault, index) => ({ ...fault, n: comingAgainN + index }))
}

function makeFault(random: Chance, kind: FaultKind): Fault {
  const spec = faultSpecs[kind]
  const [forMin, forMax] = spec.forMs ?? [0, 0]
  const [timesMin, timesMax] = spec.times ?? [0, 0]
  return {
    n: 0,
    atMs: Math.round(random.between(0, activeMs)),
    kind,
    forMs: Math.round(forMin * Math.pow(Math.max(1, forMax) / Math.max(1, forMin), random.random())),
    times: random.whole(timesMin, timesMax),
  }
}

function sample<T>(random: Chance, items: readonly T[], count: number): T[] {
  return Array.from({ length: count }, () => random.pick(items))
}
