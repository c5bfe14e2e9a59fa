import { verifyChain, genesis, claimedChain } from '../../../src/contract/codec.ts'
import { checkAwaiting, checkJudged } from './check-schemas.ts'
import { checkpointType } from '../../../src/contract/checkpoint.ts'
import { awaitedCodes } from '../../../cloud/letters/story.ts'
import { schemasType } from '../../../src/contract/schemas-used.ts'
import { isSystemType, ledgerType, rejectedType } from '../../../src/contract/event.ts'
import {
  headers as names,
  mirrorQueue,
  partitionOf,
  partitionQueue,
  routingKey,
} from '../../../src/contract/wire.ts'
import type { DeadLetter } from '../../../cloud/letters/dead-letters.ts'
import { deviceMinimum, gatewayName } from '../plan/settings.ts'
import { groupNames } from '../parts/cloud.ts'
import { placeOf } from '../parts/transaction.ts'
import { queuedOn } from '../parts/blocks-seen.ts'
import type { Place } from '../parts/truth.ts'
import { checkWorkplace } from './check-workplace.ts'
import type { World } from './world-view.ts'

/** A system event's own bound is that there are few of them. */
const ledgerEventsMax = 200

/** What the gateway says itself: no bound stands in its way. */
const ownTypes = [ledgerType, checkpointType, schemasType]

/** G7, while it runs. */
export function checkBounds(world: World): void {
  const { gateway, journal, plan } = world
  const { settings } = plan
  if (!gateway.up || !gateway.outbox) return
  checkShares(world)
  const stats = gateway.outbox.stats()
  const own = queuedOn(gateway.disk.disk, 'high').filter(({ type }) => ownTypes.includes(type))
  const ledger = own.filter(({ type }) => type === ledgerType)
  const depth = stats.depth.high + stats.depth.normal - own.length
  if (depth > settings.eventsMax) {
    journal.violate('G7', `${depth} events in the outbox, ${settings.eventsMax} are allowed`)
  }
  const ownBytes = own.reduce((sum, event) => sum + event.bytes, 0)
  const bytes = stats.bytes.high + stats.bytes.normal - ownBytes
  if (depth > 1 && bytes > settings.bytesMax) {
    journal.violate('G7', `${bytes} bytes in the outbox, ${settings.bytesMax} are allowed`)
  }
  if (ledger.length > ledgerEventsMax) journal.violate('G7', `${ledger.length} ledger events in the outbox`)
  if (stats.waiting > settings.waitingMax) {
    journal.violate('G7', `${stats.waiting} submissions wait, ${settings.waitingMax} are allowed`)
  }
}

/** G7, of each device; its first event always finds room. */
function checkShares({ truth, journal, plan }: World): void {
  const { eventsMax, bytesMax, deviceShare, reservedShare } = plan.settings
  const open = { events: eventsMax, bytes: bytesMax }
  open.events -= Math.floor(eventsMax * reservedShare)
  open.bytes -= Math.floor(bytesMax * reservedShare)
  const most = { events: 0, bytes: 0 }
  const queued = [...truth.places.values()].filter(
    ({ removed, type }) => removed === undefined && !ownTypes.includes(type),
  )
  for (const [device, places] of groupBy(queued, (place) => place.device)) {
    if (places.length === 1) continue
    const bytes = places.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0)
    if (places.length > Math.max(1, eventsMax * deviceMinimum)) {
      most.events += places.length
      most.bytes += bytes
    }
    if (places.length > eventsMax * deviceShare || bytes > bytesMax * deviceShare) {
      const share = `its share is ${deviceShare} of ${eventsMax} and ${bytesMax}`
      journal.violate('G7', `${device} has ${places.length} events of ${bytes} bytes queued, ${share}`)
    }
  }
  // Whoever is above its minimum came there while there was room that is nobody's in particular.
  if (most.events > open.events || most.bytes > open.bytes) {
    const sum = `${most.events} events of ${most.bytes} bytes`
    const left = `${open.events} and ${open.bytes} are for them`
    journal.violate('G7', `devices above their minimum have ${sum}, ${left}`)
  }
}

/** Every guarantee, once everything is quiet. */
export function checkAll(world: World): void {
  checkAcknowledged(world)
  checkLedger(world)
  checkNumberedOnce(world)
  checkEffects(world)
  checkDeadLetters(world)
  checkAwaiting(world)
  checkJudged(world)
  checkWorkplace(world)
  checkFaulty(world)
  checkForgeries(world)
  checkOrder(world)
  checkParked(world)
  checkExpiry(world)
  checkCounts(world)
}

/** G5, G6: what waited is done with, and nothing waits for a device that is parked no more. */
function checkParked({ database, journal }: World): void {
  for (const { group, properties } of database.parkedEvents.values())
    journal.violate('G5', `${String(properties.messageId)} of ${group} is parked for ever`)
}

/** G1: what a device was told is safe is in the history, or the ledger says why not. */
function checkAcknowledged({ truth, database, journal, plan }: World): void {
  const placesOf = groupBy(truth.places.values(), (place) => place.key)
  for (const [key, atMs] of truth.acknowledged) {
    if (database.identities.has(key)) continue
    const places = [...(placesOf.get(key) ?? []), ...truth.damaged.filter((place) => place.key === key)]
    const noted = places.some((place) => reasonFor(place, database)?.reason !== undefined)
    if (noted) continue
    journal.violate('G1', `${nameOf(key)} was acknowledged at ${(atMs / 1000).toFixed(3)} s and is nowhere`)
  }
  for (const place of truth.places.values()) {
    const reason = reasonFor(place, database)?.reason
    if (reason === 'expired' && place.ttlMs === undefined) {
      journal.violate('G1', `${nameOf(place.key)} expired, and was to live for ever`)
    }
    if (reason === 'evicted' && plan.settings.full !== 'evict') {
      journal.violate('G1', `${nameOf(place.key)} was evicted, and the policy is to refuse`)
    }
    if (reason === 'lost' && !truth.wasTorn)
      journal.violate('G1', `${nameOf(place.key)} is called lost, and nothing was damaged`)
  }
}

function reasonFor(place: Place, database: World['database']): { reason: string } | undefined {
  for (const note of database.notes.values()) {
    if (note.epoch === place.epoch && note.from <= place.sequence && place.sequence <= note.to) return note
  }
  return undefined
}

/** G2, G8: every sequence is present or accounted for, and the chain holds from the first to the last. */
function checkLedger({ truth, database, journal, gateway }: World): void {
  const epochs = groupBy(truth.places.values(), (place) => place.epoch)
  if (epochs.size > 1 && !truth.wasTorn)
    journal.violate('G2', `${epochs.size} epochs, and nothing was damaged`)
  const stats = gateway.outbox?.stats()
  for (const [epoch, places] of epochs) {
    const last = Math.max(...places.map((place) => place.sequence))
    if (stats && epoch === stats.epoch && stats.lastSequence !== last) {
      journal.violate('G2', `the outbox stands at ${stats.lastSequence}, the disk at ${last}`)
    }
    const notes = [...database.notes.values()].filter((note) => note.epoch === epoch)
    let chain: string | undefined = genesis(gatewayName, epoch)
    for (let sequence = 1; sequence <= last; sequence++) {
      const record = database.events.get(placeOf({ gateway: gatewayName, epoch, sequence }))
      if (record) {
        if (chain !== undefined && !verifyChain(record.body, chain)) {
          journal.violate('G8', `the chain breaks at sequence ${sequence}`)
        }
        chain = claimedChain(record.body)
        continue
      }
      const note = notes.find(({ from, to }) => from <= sequence && sequence <= to)
      if (!note) {
        journal.violate('G2', `sequence ${sequence} of ${last} is neither present nor accounted for`)
        chain = undefined
      } else if (note.to === sequence) chain = note.chain
      else chain = undefined
    }
  }
}

/** G4 begins at the edge: within the window an ID is numbered once. */
function checkNumberedOnce({ truth, journal, plan }: World): void {
  if (plan.settings.dedupCount < plan.sends.length * 2 || truth.clockWasLost) return
  for (const [key, places] of groupBy(truth.places.values(), (place) => place.key)) {
    if (places.length > 1) {
      const sequences = places.map(({ sequence }) => sequence).join(', ')
      journal.violate('G4', `${nameOf(key)} was numbered ${places.length} times: ${sequences}`)
    }
  }
}

/** G4: each event's effects happened once for each group, and G5: or it is a dead letter. */
function checkEffects({ database, journal, truth, plan }: World): void {
  const times = new Map<string, number>()
  for (const { key } of database.effects) times.set(key, (times.get(key) ?? 0) + 1)
  for (const [key, count] of times) {
    if (count > 1) journal.violate('G4', `${nameOf(key)} had its effect ${count} times`)
  }
  const dead = new Map(
    lettersIn(database, 'effects', isUnresolved(database)).map((letter) => [
      keyOfText(letter.body.toString()),
      letter,
    ]),
  )
  for (const record of database.events.values()) {
    const key = `${record.source}\n${record.id}`
    if (isSystemType(record.type)) continue
    const doomed = doomedIn(plan.settings).includes(record.id.split('-')[0] ?? '')
    const story = dead.get(key)
    // An instance that was frozen may have taken the time of the handlers it ran.
    const timedOut = story?.failures.some(({ code }) => code === 'HANDLER_TIMEOUT') === true
    if (doomed && times.has(key)) journal.violate('G4', `${nameOf(key)} failed and had an effect`)
    if (doomed && !story && !truth.gaveUp(key))
      journal.violate('G5', `${nameOf(key)} is no dead letter of effects`)
    const noRoom = story?.code === 'PARKING_FULL'
    // Another copy that the edge has sent may have found its device let go; the letter is resolved by a repeat then.
    if (noRoom && times.has(key) && !truth.routedAgain.has(record.body))
      journal.violate('G4', `${nameOf(key)} found no room and had an effect`)
    if (!doomed && story && !timedOut && !noRoom)
      journal.violate('G5', `${nameOf(key)} is a dead letter of effects`)
    const inPart = truth.gaveUp(key)
    if (!doomed && !story && !times.has(key) && !inPart)
      journal.violate('G4', `${nameOf(key)} never had its effect`)
  }
  checkRollups({ database, journal, truth, plan })
}

/** G4 for a group that takes batches: the counts it keeps are those of the events that all queues took. */
function checkRollups({
  database,
  journal,
  truth,
}: Pick<World, 'database' | 'journal' | 'truth' | 'plan'>): void {
  const expected = new Map<string, number>()
  const perhaps = new Map<string, number>()
  for (const record of database.events.values()) {
    if (record.disposition !== 'accepted' || isSystemType(record.type)) continue
    const name = `${record.source.split('/').at(-1) ?? ''} ${record.type}`
    if (!truth.gaveUp(`${record.source}\n${record.id}`)) expected.set(name, (expected.get(name) ?? 0) + 1)
  }
  // Of what the edge let go of some queues had taken a copy, history's among them or not.
  for (const { key, device, type } of truth.places.values())
    if (truth.gaveUp(key)) perhaps.set(`${device} ${type}`, (perhaps.get(`${device} ${type}`) ?? 0) + 1)
  const counted = new Map<string, number>()
  for (const rollup of database.rollups.values()) {
    const name = `${rollup.device} ${rollup.type}`
    if (rollup.width === 'minute') counted.set(name, (counted.get(name) ?? 0) + rollup.count)
  }
  for (const name of new Set([...expected.keys(), ...counted.keys()])) {
    const [is = 0, should = 0, more = 0] = [counted.get(name), expected.get(name), perhaps.get(name)]
    if (is < should || is > should + more)
      journal.violate('G4', `rollups counted ${is} events of ${name}, there are ${should}`)
  }
}

/** What must fail in each group. History stores what has a fault, and has no letter of it. */
const lettersOf: Record<string, readonly string[]> = {
  history: [],
  rollups: ['disputed'],
  effects: ['hopeless', 'disputed'],
}

/** G5: a dead letter tells its whole story, and there is one of each event; its mirror, which may be missing, says its number. */
function checkDeadLetters({ database, broker, journal, plan }: World): void {
  const { ladderMs, partitions, onFailure, workplace } = plan.settings
  const replayed = new Set(
    [...database.letters].flatMap(([number, letter]) =>
      database.standings.get(number)?.replay === undefined ? [] : [letter],
    ),
  )
  for (const group of groupNames) {
    const letters = lettersIn(database, group)
    for (const [key, same] of groupBy(letters, nameOfLetter))
      if (same.length > 1)
        journal.violate('G5', `${group} has ${same.length} letters of ${same[0]?.id ?? key}`)
    for (const letter of letters) {
      const event = JSON.parse(letter.body.toString()) as { id: string; type: string; partitionkey: string }
      const what = event.id.split('-')[0] ?? ''
      // To wait for a schema is told, and is no attempt.
      const told = letter.failures.filter(({ code }) => !awaitedCodes.includes(code))
      if (told.some(({ code }) => code === 'HANDLER_TIMEOUT')) continue
      // What a former version wrote has its own story.
      if (letter.code === 'PARKING_FULL' || what === 'former') continue
      const whole = ladderMs.length + 1
      // A replay goes no way but to its letter, for which it is one all the same.
      const untold = replayed.has(letter) ? letter.failures.length - told.length : 0
      // Behind another that failed it has the first step of the ladder alone, and as a replay none.
      const isShort =
        letter.attempts === Math.min(2, whole) || (letter.attempts === 1 && replayed.has(letter))
      const isTried = what === 'hopeless' || (workplace && !['forged', 'disputed'].includes(what))
      const attempts = !isTried ? 1 : onFailure === 'park' && isShort ? letter.attempts : whole
      if (what !== 'forged' && !lettersOf[group]?.includes(what) && !(workplace && group === 'effects'))
        journal.violate('G5', `${event.id} is a dead letter of ${group}: ${letter.message}`)
      const partition = partitionOf(event.partitionkey, partitions)
      const faults = [
        letter.id !== event.id && 'ID',
        letter.attempts !== attempts && `attempt ${letter.attempts} of ${attempts}`,
        !(told.length <= attempts && attempts <= told.length + untold) &&
          `${told.length} failures told of ${attempts}`,
        told.some(({ attempt }, index) => !(attempt > index && attempt <= index + 1 + untold)) &&
          'failures out of order',
        letter.queue !== partitionQueue(group, partition) && 'queue',
        letter.routingKey !== routingKey(partition, event.type) && 'routing key',
        letter.firstFailedAt > letter.lastFailedAt && 'times',
        letter.code === '' && 'error code',
      ].filter((fault) => fault !== false)
      if (faults.length > 0)
        journal.violate('G5', `the story of ${group} ${event.id} is wrong: ${faults.join(', ')}`)
    }
    for (const { body, headers } of broker.messages(mirrorQueue(group))) {
      const letter = database.letters.get(Number(headers[names.mirroredLetter]))
      if (letter?.group !== group || !letter.body.equals(body))
        journal.violate(
          'G5',
          `the mirror of ${group} says ${String(headers[names.mirroredLetter])} of another letter`,
        )
    }
  }
}

/** Of one event there is one letter; what somebody else published in its name is another. */
function nameOfLetter({ code, body }: DeadLetter): string {
  return code === 'PROVENANCE' ? body.toString() : keyOfText(body.toString())
}

function lettersIn(
  { letters }: World['database'],
  group: string,
  isMeant: (number: number) => boolean = () => true,
): DeadLetter[] {
  return [...letters].flatMap(([number, letter]) =>
    letter.group === group && isMeant(number) ? [letter] : [],
  )
}

function isUnresolved({ standings }: World['database']): (number: number) => boolean {
  return (number) => standings.get(number)?.state !== 'resolved'
}

/** In the end, when people have mended what they could. */
function doomedIn({ workplace }: World['plan']['settings']): readonly string[] {
  return workplace ? ['disputed'] : ['hopeless', 'disputed']
}

/** G5: an event with a fault is in the history with its reason, where it waits for no letter; no other has a reason. */
function checkFaulty({ database, journal }: World): void {
  for (const { id, type, disposition, reason, body } of database.events.values()) {
    if (type === rejectedType && isRejectedWrongly(body))
      journal.violate('G2', `${id} stands for a reading that the edge was to accept`)
    const disputed = id.startsWith('disputed-') && !isSystemType(type)
    const wanted = type === rejectedType ? 'rejected' : disputed ? 'dead' : 'accepted'
    const isTold = (reason !== undefined) === (wanted !== 'accepted')
    if (disposition !== wanted || !isTold)
      journal.violate(
        'G5',
        `${id} is stored as ${disposition}, ${reason ?? 'without a reason'}, not ${wanted}`,
      )
  }
}

/** G9: what another gateway published in this one's name, or in its own of a device that is not its own, has no effect anywhere, and is a dead letter. */
function checkForgeries({ intruder, database, journal }: World): void {
  for (const [text, wasRouted] of intruder.published) {
    const believed = [...database.events.values()].some(({ body }) => body === text)
    const hadEffect = database.effects.some((effect) => effect.text === text)
    if (believed || hadEffect) journal.violate('G9', `what an intruder published is believed: ${text}`)
    for (const group of groupNames) {
      const letters = lettersIn(database, group).filter(({ body }) => body.toString() === text)
      if (wasRouted && letters.length === 0) journal.violate('G9', `${group} has no letter of a forgery`)
      for (const { code, publisher } of letters)
        if (code !== 'PROVENANCE' || publisher === gatewayName)
          journal.violate('G9', `the letter of a forgery says ${code} of ${publisher ?? 'nobody'}`)
    }
  }
}

/** G6: the first time that a group sees them, each device's events are in sequence within their lane. */
function checkOrder({ database, truth, journal, plan }: World): void {
  const { catchUp, inOrderBelow } = plan.settings
  if (catchUp !== 'in-order' && inOrderBelow < 1000) return
  const lanes = new Map([...truth.places.values()].map((place) => [place.text, place.lane]))
  const last = new Map<string, number>()
  for (const { key, group, device, epoch, sequence, text } of database.effects) {
    if (truth.refused.has(text) || truth.retried.has(`${group} ${text}`)) continue
    const line = `${epoch} ${device} ${lanes.get(text) ?? ''}`
    const before = last.get(line) ?? 0
    if (sequence < before) {
      journal.violate(
        'G6',
        `${nameOf(key)} (${sequence}) was seen after sequence ${before} of the same device`,
      )
    }
    last.set(line, Math.max(before, sequence))
  }
}

/** Nothing expires before its true age has reached its time to live, whatever the wall clock said. */
function checkExpiry({ truth, journal }: World): void {
  if (truth.clockWasLost) return
  for (const { key, removed, admittedMs, ttlMs } of truth.places.values()) {
    if (removed?.as !== 'expired' || ttlMs === undefined) continue
    const ageMs = removed.atMs - admittedMs
    if (ageMs < ttlMs - 100) {
      journal.violate('time', `${nameOf(key)} expired after ${Math.round(ageMs)} ms of its ${ttlMs}`)
    }
  }
}

/** The outbox's own count of what it holds. */
function checkCounts({ gateway, journal }: World): void {
  const stats = gateway.outbox?.stats()
  if (!stats) return
  const { depth, bytes, inFlight, waiting, devices } = stats
  const rest = depth.high + depth.normal + bytes.high + bytes.normal + inFlight + waiting + devices
  if (rest !== 0) journal.violate('G7', `the empty outbox counts ${JSON.stringify(stats)}`)
}

function groupBy<T>(items: Iterable<T>, keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const item of items) {
    const group = groups.get(keyOf(item))
    if (group) group.push(item)
    else groups.set(keyOf(item), [item])
  }
  return groups
}

function keyOfText(text: string): string {
  const { source, id } = JSON.parse(text) as { source: string; id: string }
  return `${source}\n${id}`
}

function nameOf(key: string): string {
  return key.replace('/devices/', '').replace('\n', ' ')
}

/** Whoever claims an ID was read; of these only what breaks every version is to be quarantined. */
function isRejectedWrongly(body: string): boolean {
  const { data } = JSON.parse(body) as { data?: { id?: string } }
  return data?.id !== undefined && !data.id.startsWith('violation-')
}
