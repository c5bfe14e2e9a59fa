import { readFileSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Command } from 'commander'
import { Connection } from 'rabbitmq-client'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openAuthority } from '../../../certs/authority.ts'
import { signNextLists } from '../../../certs/lists/lists.ts'
import { registerListsCommand } from '../../../certs/lists/command.ts'
import { publishLists } from '../../../certs/lists/lists-rabbit.ts'
import type { ExchangeSession } from '../../../edge/uplink/exchange.ts'
import type { ListsFollower } from '../../../edge/uplink/lists-rabbit.ts'
import { loadTrust } from '../../../edge/mqtt/trust/files.ts'
import { systemClock } from '../../../src/clock.ts'
import { listsBytesMax } from '../../../src/contract/published-lists.ts'
import { listsQueue, partitionOf, routingKey, wire } from '../../../src/contract/wire.ts'
import { type Logger, silentLog } from '../../../src/log.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { createTestPki } from '../../support/edge/test-broker.ts'
import { testUplink } from '../../support/edge/test-uplink.ts'
import {
  closed,
  denying,
  type Place,
  publish,
  refusal,
  usePlaces,
} from '../../support/edge/trusting-broker.ts'
import { createVhost } from '../../support/servers.ts'

const place = usePlaces()
const gateway = 'gw-1'
const noop = (): void => {}
const auth = 'password'
let url: string
let closing: (() => Promise<unknown>)[] = []
beforeEach(async () => {
  url = await createVhost()
  const admin = new Connection(url)
  await admin.exchangeDeclare({ exchange: wire.exchange, type: 'topic', durable: true })
  await admin.close()
})
afterEach(async () => {
  for (const close of closing.toReversed()) await close()
  closing = []
})

const publishedIn = (here: Pick<Place, 'pki'>): string => join(here.pki.folder, 'lists.json')

/** A gateway's entrance that keeps what comes down. */
async function gatewayPlace(): Promise<Place> {
  return place({ realTime: true, published: true })
}

/** The CA of the place publishes what it has revoked, and who is denied. */
async function publishFrom(here: Place, ...denied: string[]): Promise<string> {
  const deniedFile = join(here.pki.folder, 'to-publish.txt')
  await writeFile(deniedFile, denying(...denied))
  const signed = await signNextLists(await openAuthority(dirname(here.pki.caFile)), {
    deniedFile,
    now: new Date(),
  })
  const json = JSON.stringify(signed)
  await publishLists(json, { url, auth, tls: undefined, gateways: [gateway] })
  return json
}

let pauses = 0
/** Who writes what is refused is not waited for. */
const hastyClock = Object.assign(Object.create(systemClock) as typeof systemClock, {
  sleep(ms: number, signal?: AbortSignal) {
    if (ms !== 10_000) return systemClock.sleep(ms, signal)
    pauses += 1
    return Promise.resolve()
  },
})

async function connectUplink(
  here: Place,
  take: ListsFollower['take'] = (json) => here.trust.take(json),
): Promise<ExchangeSession> {
  const lists = { queue: listsQueue(gateway), take }
  const uplink = testUplink({ url, gateway, log: silentLog, clock: hastyClock, lists })
  const session = await uplink.connect(AbortSignal.timeout(20_000))
  closing.push(() => session.close())
  return session
}

/** Resolves when lists of this number are in force. */
async function inForce(here: Place, json: string): Promise<void> {
  const { number } = JSON.parse(json) as { number: number }
  await here.when(() => here.trust.inForce.published?.number === number)
}

test('a device is off within 5 s of the lists that name it, and another goes on; they are there after a restart', async () => {
  const here = await gatewayPlace()
  await publishFrom(here)
  await connectUplink(here)
  const [bad, stolen, good] = [
    await here.connect(await here.pki.device('bad')),
    await here.connect(await here.pki.device('stolen')),
    await here.connect(await here.pki.device('good')),
  ]
  let closes = 0
  good.on('close', () => (closes += 1))
  await publish(bad, 'bad')
  await here.revoke(['bad'])
  const beganAtMs = performance.now()
  const json = await publishFrom(here, 'device stolen')
  await Promise.all([closed(bad), closed(stolen)])
  expect(performance.now() - beganAtMs).toBeLessThan(5000)
  await publish(good, 'good')
  expect(closes).toBe(0)
  expect(here.seen.ended.toSorted()).toEqual(['denied', 'revoked-certificate'])
  await refusal(here, await here.pki.device('stolen'))
  expect(JSON.parse(readFileSync(publishedIn(here), 'utf8'))).toEqual(JSON.parse(json))

  const again = await loadTrust({ ...here.files, crl: undefined, published: publishedIn(here) }, new Date())
  expect(again.published).toMatchObject({ number: (JSON.parse(json) as { number: number }).number })
  expect(again.published?.denied.devices.has('stolen')).toBe(true)
})

test('a gateway that was away learns the newest lists when it is back', async () => {
  const here = await gatewayPlace()
  const bad = await here.connect(await here.pki.device('bad'))
  await publishFrom(here, 'device somebody')
  const json = await publishFrom(here, 'device bad')
  await connectUplink(here)
  await inForce(here, json)
  await closed(bad)
  expect(here.seen.logs.filter(({ msg }) => msg === 'lists came down with the uplink')).toHaveLength(1)
})

test('RabbitMQ keeps the lists in force, and no others, for a gateway that comes back without its disk', async () => {
  const here = await gatewayPlace()
  await publishFrom(here)
  const offered: string[] = []
  const take: ListsFollower['take'] = async (json) => {
    const taken = await here.trust.take(json)
    offered.push(taken)
    return taken
  }
  const session = await connectUplink(here, take)
  await here.when(() => here.trust.inForce.published !== undefined)
  await inForce(here, await publishFrom(here, 'device a'))
  const newest = await publishFrom(here, 'device b')
  await inForce(here, newest)
  await session.close()
  await rm(publishedIn(here))
  await here.trust.reload()
  expect([...here.trust.faulty]).toEqual(['published'])
  expect(here.trust.inForce.published?.denied.devices).toEqual(new Set(['b']))
  await connectUplink(here, take)
  await here.when(() => offered.length === 4)
  // What is in force and lost is written again.
  expect(offered).toEqual(['taken', 'taken', 'taken', 'taken'])
  expect(readFileSync(publishedIn(here), 'utf8')).toBe(newest)
  expect([...here.trust.faulty]).toEqual([])
})

test('of lists that are held while newer ones come, the newer are there in the end', async () => {
  const here = await gatewayPlace()
  await publishFrom(here)
  let begin: () => void = noop
  const begun = new Promise<void>((resolve) => (begin = resolve))
  const session = await connectUplink(here, () => {
    begin()
    return new Promise(() => {})
  })
  await begun
  await publishFrom(here, 'device a')
  const newest = await publishFrom(here, 'device b')
  await session.close()
  const offered: string[] = []
  await connectUplink(here, async (json) => {
    offered.push(Buffer.from(json).toString())
    return here.trust.take(json)
  })
  await inForce(here, newest)
  expect(offered).toEqual([newest])
})

test('a session with lists is closed in order', async () => {
  const here = await gatewayPlace()
  await publishFrom(here)
  const waits: number[] = []
  const clock = Object.assign(Object.create(systemClock) as typeof systemClock, {
    // It has no patience of its own.
    sleep: (ms: number, signal?: AbortSignal) =>
      new Promise<void>((_, reject) =>
        signal?.addEventListener('abort', () => reject(new Error(`${waits.push(ms)}`)), { once: true }),
      ),
  })
  const lists = { queue: listsQueue(gateway), take: (json: Uint8Array) => here.trust.take(json) }
  const session = await testUplink({ url, gateway, clock, lists }).connect(AbortSignal.timeout(20_000))
  await here.when(() => here.trust.inForce.published !== undefined)
  await session.close()
  expect(waits).toContain(1000)
})

test('what is larger than lists can be is not collected, and is refused; events and lists go on', async () => {
  const here = await gatewayPlace()
  await publishFrom(here)
  const sizes: number[] = []
  const session = await connectUplink(here, (json) => {
    sizes.push(json.length)
    return here.trust.take(json)
  })
  await here.when(() => here.trust.inForce.published !== undefined)
  const admin = new Connection(url)
  closing.push(() => admin.close())
  await admin.queueDelete({ queue: listsQueue(gateway) })
  await admin.queueDeclare({ queue: listsQueue(gateway), durable: true })
  await admin.queueBind({ queue: listsQueue(gateway), exchange: wire.lists, routingKey: '' })
  await session.close()
  const publisher = admin.createPublisher({ confirm: true })
  await publisher.send({ exchange: wire.lists, routingKey: '' }, Buffer.alloc(listsBytesMax + 1))
  await publisher.close()
  await connectUplink(here, (json) => {
    sizes.push(json.length)
    return here.trust.take(json)
  })
  await here.when(() => here.trust.refusedLists === 1)
  const publisher2 = admin.createPublisher({ confirm: true })
  const signed = await signNextLists(await openAuthority(dirname(here.pki.caFile)), { now: new Date() })
  await publisher2.send({ exchange: wire.lists, routingKey: '' }, Buffer.from(JSON.stringify(signed)))
  await publisher2.close()
  await here.when(() => here.trust.inForce.published?.number === signed.number)
  expect(sizes[1]).toBe(0)
})

test('lists that are cut, altered, older or of another CA change nothing, and are told and counted; the next are taken', async () => {
  const here = await gatewayPlace()
  await publishFrom(here)
  await connectUplink(here)
  const first = await publishFrom(here, 'device a')
  await inForce(here, first)
  const second = await publishFrom(here, 'device b')
  await inForce(here, second)
  const stranger = await createTestPki()
  closing.push(() => stranger.close())
  const foreign = await signNextLists(await openAuthority(dirname(stranger.caFile)), {
    nobodyDenied: true,
    withoutCrl: true,
    now: new Date(),
  })
  const { denied, ...rest } = JSON.parse(second) as { denied: string; number: number }
  const forged = [
    first,
    second.slice(0, 200),
    JSON.stringify({ ...rest, denied: denied.replace('device b', 'device c') }),
    JSON.stringify({ ...rest, denied, number: rest.number + 1 }),
    JSON.stringify({ ...foreign, number: rest.number + 2 }),
    JSON.stringify(foreign),
    '',
    '"text"',
  ]
  pauses = 0
  for (const [index, one] of forged.entries()) {
    await publishLists(one, { url, auth, tls: undefined, gateways: [gateway] })
    await here.when(() => here.trust.refusedLists === index + 1)
  }
  expect(here.trust.inForce.published?.number).toBe(rest.number)
  expect(here.trust.inForce.published?.denied.devices).toEqual(new Set(['b']))
  expect(readFileSync(publishedIn(here), 'utf8')).toBe(second)
  const codes = here.seen.logs.flatMap(({ code, msg }) => (/are refused/.test(String(msg)) ? [code] : []))
  expect(codes).toEqual(['LISTS_OLDER', ...Array<string>(7).fill('LISTS_INVALID')])
  await inForce(here, await publishFrom(here, 'device d'))
  expect(pauses).toBe(forged.length)
})

test('what is kept is proven when it is read: altered, or of a CA that has gone, it is told of, and the gateway starts', async () => {
  const here = await gatewayPlace()
  const json = await publishFrom(here, 'device a')
  await expect(here.trust.take(Buffer.from(json))).resolves.toBe('taken')
  await expect(here.trust.take(Buffer.from(json))).resolves.toBe('known')
  await writeFile(publishedIn(here), json.replace('device a', 'device b'))
  await here.trust.reload()
  expect([...here.trust.faulty]).toEqual(['published'])
  expect(here.trust.inForce.published?.denied.devices).toEqual(new Set(['a']))
  const again = await loadTrust({ ...here.files, crl: undefined, published: publishedIn(here) }, new Date())
  expect(again.published).toBeUndefined()
  expect(again.publishedFault).toMatchObject({ code: 'LISTS_INVALID' })
})

test('lists that cannot be written are not acknowledged, and come again', async () => {
  const here = await gatewayPlace()
  await publishFrom(here)
  let offered = 0
  let refuse = true
  const taken = new Promise<void>((resolve) => {
    const take: ListsFollower['take'] = async (json) => {
      offered += 1
      if (refuse) throw new Error('the disk is full')
      const result = await here.trust.take(json)
      resolve()
      return result
    }
    const clock = Object.assign(Object.create(systemClock) as typeof systemClock, {
      sleep: async () => void (refuse = false),
    })
    const uplink = testUplink({ url, gateway, clock, lists: { queue: listsQueue(gateway), take } })
    void uplink.connect(AbortSignal.timeout(20_000)).then((session) => closing.push(() => session.close()))
  })
  await taken
  expect(offered).toBe(2)
  expect(here.trust.inForce.published).toBeDefined()
})

function warning(warned: unknown[]): { log: Logger; told: Promise<void> } {
  let warn: (about: unknown) => void = noop
  const told = new Promise<void>((resolve) => {
    warn = (about) => {
      warned.push(about)
      resolve()
    }
  })
  return { log: { ...silentLog, info: noop, warn } as never, told }
}

test('without a queue of lists, or the right to read it, the uplink is as it was, and that is told once', async () => {
  const warned: unknown[] = []
  const { log, told } = warning(warned)
  const lists = { queue: listsQueue(gateway), take: async () => 'known' as const }
  const session = await testUplink({ url, gateway, log, lists }).connect(AbortSignal.timeout(20_000))
  closing.push(() => session.close())
  await told
  expect(warned).toEqual([expect.objectContaining({ code: 'NOT_FOUND' })])
  expect(await Promise.race([session.lost, Promise.resolve('there')])).toBe('there')
})

test('the command signs and publishes what is there, with a number that grows though the clock goes back, and says who is not reached', async () => {
  const here = await gatewayPlace()
  const dir = dirname(here.pki.caFile)
  const first = Date.now()
  const said: string[] = []
  const run = async (nowMs: number, ...words: string[]): Promise<void> => {
    const program = new Command('tidegate').exitOverride()
    registerListsCommand(program, { say: (line) => said.push(line), now: () => new Date(nowMs) })
    await program.parseAsync(['lists', 'publish', '--dir', dir, '--url', url, ...words], { from: 'user' })
  }
  const denied = join(here.pki.folder, 'denied-by-hand.txt')
  await writeFile(denied, denying('device bad'))
  await run(first, '--denied', denied)
  await run(first - 3_600_000, '--gateways', gateway)
  expect(said).toEqual([
    `lists ${first} are published, and no gateway has a queue for them yet: name them with --gateways`,
    `lists ${first + 1} are published`,
  ])
  await connectUplink(here)
  await here.when(() => here.trust.inForce.published?.number === first + 1)
  expect(here.trust.inForce.published?.denied.devices).toEqual(new Set(['bad']))
  await writeFile(join(dir, 'lists.json'), '{}')
  await expect(run(first)).rejects.toMatchObject({ code: 'CERTS_LISTS' })
})

test('beside the lists events are proven as ever, and what no gateway can read in their place brings no session down (G3)', async () => {
  const here = await gatewayPlace()
  await publishFrom(here)
  const admin = new Connection(url)
  closing.push(() => admin.close())
  await admin.queueDeclare({ queue: 'all', durable: true })
  const event = new Ledger().next('device-1')
  const { type, id } = event.event
  const key = routingKey(partitionOf('device-1', 4), type)
  await admin.queueBind({ queue: 'all', exchange: wire.exchange, routingKey: key })
  const session = await connectUplink(here)
  await here.when(() => here.trust.inForce.published !== undefined)
  const publisher = admin.createPublisher({ confirm: true })
  let headers: object = {}
  for (let depth = 0; depth < 40; depth += 1) headers = { headers }
  await publisher.send({ exchange: wire.lists, routingKey: '', headers }, 'x')
  await publisher.close()
  await here.when(() => here.trust.refusedLists === 1)
  const told: string[] = []
  const both = new Promise<void>((resolve) => {
    session.onOutcomes((outcomes) => {
      told.push(...outcomes.map(({ kind }) => kind))
      if (told.length === 2) resolve()
    })
  })
  const shipped = {
    position: 1,
    sequence: 1,
    id,
    deviceId: 'device-1',
    recordedAtMs: 0,
    type,
    text: event.text,
  }
  session.publish([shipped] as never)
  session.publish([{ ...shipped, type: 'com.acme.unwanted' }] as never)
  await both
  expect(told.toSorted()).toEqual(['refused', 'routed'])
})
