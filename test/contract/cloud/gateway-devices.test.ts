import 'reflect-metadata'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { Connection } from 'rabbitmq-client'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { headers as names, mirrorQueue } from '../../../src/contract/wire.ts'
import { audit, command, databaseWith } from '../../support/cloud/audited-database.ts'
import { type CloudBench, openCloudBench } from '../../support/cloud/cloud.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { gatewayUser, type GatewayUser } from '../../support/cloud/gateway-user.ts'

const folder = mkdtempSync(join(tmpdir(), 'tidegate-devices-'))
afterAll(() => rmSync(folder, { recursive: true }))

const gatewaysOf =
  (url: string) =>
  (...args: string[]): ReturnType<typeof command> =>
    command('gateways', ...args, '-d', url)

describe('tidegate gateways devices', () => {
  let url: string
  let gateways: ReturnType<typeof gatewaysOf>
  beforeAll(async () => {
    url = await databaseWith([])
    gateways = gatewaysOf(url)
  })

  async function devicesOf(...args: string[]): Promise<Record<string, string[]>> {
    const { stdout } = await gateways('list', '--json', ...args)
    const { gateways: listed } = JSON.parse(stdout) as { gateways: { name: string; devices: string[] }[] }
    return Object.fromEntries(listed.map(({ name, devices }) => [name, devices]))
  }

  test('says of which devices a gateway may speak, adds, removes and shows them (G9)', async () => {
    const added = await gateways('add', 'gateway-1', '--devices', 'line-3-*, pump-7')
    expect(added.stdout).toContain('for 2 patterns of devices')
    await gateways('add', 'gateway-2')
    expect((await gateways('devices', 'add', 'gateway-1', 'pump-7', 'pump-8')).stdout).toBe(
      'gateway-1 may speak of 1 pattern more; 1 pattern it had\n',
    )
    expect((await gateways('list')).stdout).toMatch(
      /^gateway-1 {2}active since \S+\n {2}devices line-3-\*, pump-7, pump-8\ngateway-2 {2}active since \S+\n$/,
    )
    await gateways('devices', 'remove', 'gateway-1', 'pump-7')
    expect(await devicesOf()).toEqual({ 'gateway-1': ['line-3-*', 'pump-8'], 'gateway-2': [] })
    await gateways('devices', 'add', 'gateway-2', 'line-3-4')
    expect(Object.keys(await devicesOf('--device', 'line-3-4'))).toEqual(['gateway-1', 'gateway-2'])
    expect(Object.keys(await devicesOf('--device', 'line-3-5'))).toEqual(['gateway-1'])
    expect((await gateways('list', '--device', 'pump-9')).stdout).toBe(
      'no registered gateway may speak of pump-9\n',
    )
  })

  test('sees what somebody who owns the tables moves to a gateway that had none (G9)', async () => {
    const other = await databaseWith([])
    const moved = gatewaysOf(other)
    await moved('add', 'a', '--devices', 'pump-1')
    await moved('add', 'b')
    await moved('devices', 'add', 'a', 'pump-2')
    const client = new Client(other)
    await client.connect()
    await client.query(`update tidegate.gateway_devices set gateway = 'b' where pattern = 'pump-1'`)
    await client.end()
    const { stdout } = await moved('list', '--json')
    const { gateways: listed } = JSON.parse(stdout) as { gateways: { name: string; devices: string[] }[] }
    expect(listed).toMatchObject([
      { name: 'a', devices: ['pump-2'] },
      { name: 'b', devices: ['pump-1'] },
    ])
  })

  test('refuses what it cannot do, with what to do, and changes nothing', async () => {
    await gateways('add', 'gateway-5', '--devices', 'pump-1')
    const file = join(folder, 'bad.txt')
    writeFileSync(file, 'pump-2\npump 3\n')
    const refused: [string[], string, number][] = [
      [['devices', 'add', 'gateway-99', 'pump-1'], 'GATEWAY_UNKNOWN', 1],
      [['devices', 'remove', 'gateway-99', 'pump-1'], 'GATEWAY_UNKNOWN', 1],
      [['devices', 'add', 'gateway-5'], 'which devices?', 1],
      [['devices', 'add', 'gateway-5', 'line-*-3'], 'the beginning of IDs and a *', 2],
      [['devices', 'add', 'gateway-5', '--devices-from', join(folder, 'none')], 'ENOENT', 1],
      [['devices', 'add', 'gateway-5', '--devices-from', file], 'line 2: "pump 3"', 1],
      [['devices', 'remove', 'gateway-5', 'pump-1', 'pump-2'], 'pump-2 is not registered for gateway-5', 1],
      [['devices', 'remove', 'gateway-5', 'pump-1'], 'could speak of every device', 1],
      [['add', 'gateway-6', '--devices', 'pump-1,'], 'the beginning of IDs and a *', 2],
      [['list', '--device', 'pump 1'], 'A name has letters', 2],
    ]
    for (const [args, why, code] of refused) {
      const said = await gateways(...args)
      expect(said).toMatchObject({ code, stdout: '' })
      expect(said.stderr).toContain(why)
    }
    expect(await devicesOf()).toMatchObject({ 'gateway-5': ['pump-1'] })
    expect(await devicesOf()).not.toHaveProperty('gateway-6')
  })

  test('of a gateway that was renamed are those of all its names, and each name keeps them when that is taken back (G9)', async () => {
    await gateways('add', 'old', '--devices', 'fan-1')
    await gateways('rename', 'old', 'new')
    await gateways('devices', 'add', 'new', 'fan-2', 'fan-1')
    expect(await devicesOf()).toMatchObject({ old: ['fan-1', 'fan-2'], new: ['fan-1', 'fan-2'] })
    await gateways('devices', 'remove', 'new', 'fan-1')
    expect(await devicesOf()).toMatchObject({ old: ['fan-2'], new: ['fan-2'] })
    await gateways('rename', '--undo', 'old', 'new')
    expect(await devicesOf()).toMatchObject({ old: ['fan-2'], new: ['fan-2'] })
    await gateways('devices', 'add', 'new', 'fan-3')
    expect(await devicesOf()).toMatchObject({ old: ['fan-2'], new: ['fan-2', 'fan-3'] })
  })

  test('takes a fleet from a file, and shows the first of it', async () => {
    const file = join(folder, 'fleet.txt')
    writeFileSync(file, Array.from({ length: 25_000 }, (_, index) => `sensor-${index}\n`).join(''))
    await gateways('add', 'gateway-7')
    expect((await gateways('devices', 'add', 'gateway-7', '--devices-from', file)).stdout).toBe(
      'gateway-7 may speak of 25000 patterns more\n',
    )
    expect((await gateways('list')).stdout).toContain(', sensor-10004 and 24990 more (--json has them)\n')
    expect((await devicesOf())['gateway-7']).toHaveLength(25_000)
  })

  test('gives a gateway another version with each change, whoever makes it, and no other gateway (G9)', async () => {
    await gateways('add', 'gateway-8', '--devices', 'cam-1')
    await gateways('add', 'gateway-9', '--devices', 'cam-1')
    const client = new Client(url)
    await client.connect()
    const versions = async (): Promise<unknown[]> =>
      (
        await client.query<{ version: string }>(
          `select devices_version as version from tidegate.gateways where name in ('gateway-8', 'gateway-9') order by name`,
        )
      ).rows.map(({ version }) => version)
    let [mine, others] = await versions()
    expect(mine).not.toBe(others)
    for (const change of [
      `insert into tidegate.gateway_devices (gateway, pattern) values ('gateway-8', 'cam-2'), ('gateway-8', 'cam-3')`,
      `delete from tidegate.gateway_devices where gateway = 'gateway-8' and pattern = 'cam-2'`,
    ]) {
      await client.query(change)
      const [now, still] = await versions()
      expect(now).not.toBe(mine)
      expect(still).toBe(others)
      mine = now
    }
    for (const change of [
      `update tidegate.gateway_devices set pattern = 'cam-4' where pattern = 'cam-3'`,
      'truncate tidegate.gateway_devices',
    ]) {
      await client.query(change)
      const [now, too] = await versions()
      expect(now).not.toBe(mine)
      expect(too).not.toBe(others)
      ;[mine, others] = [now, too]
    }
    await expect(
      client.query(`insert into tidegate.gateway_devices (gateway, pattern) values ('gateway-8', 'cam-*-1')`),
    ).rejects.toThrow('gateway_devices_pattern_check')
    await client.end()
  })
})

describe('the cloud', () => {
  let bench: CloudBench
  const opened: { close(): Promise<unknown> }[] = []
  afterEach(async () => {
    for (const each of opened.splice(0).toReversed()) await each.close()
    await bench.close()
  })

  async function userOf(name: string): Promise<GatewayUser['publish']> {
    const user = await gatewayUser(bench, name)
    opened.push(user)
    return user.publish
  }

  /** The temperatures that are stored of a gateway, in the order of its ledger. */
  function stored(gateway: string, expected: number[]): Promise<void> {
    return vi.waitFor(
      async () => {
        const rows = await bench.rows<{ value: number }>(
          `select (body->'data'->>'temperature')::float8 as value from tidegate.events where gateway = $1 order by sequence`,
          [gateway],
        )
        expect(rows.map(({ value }) => value)).toEqual(expected)
      },
      { timeout: 15_000, interval: 50 },
    )
  }

  function letterOf(group: string) {
    return vi.waitFor(
      async () => {
        const letter = await bench.get(mirrorQueue(group))
        if (letter === undefined) throw new Error(`no letter of ${group}`)
        return letter
      },
      { timeout: 10_000, interval: 50 },
    )
  }

  test('what a gateway invents of a device that is connected elsewhere is a dead letter of each group, and the honest reading is stored; what it may speak of later is let in by a replay (G9)', async () => {
    bench = await openCloudBench()
    const gateways = gatewaysOf(bench.databaseUrl)
    await gateways('add', 'gateway-1', '--devices', 'line-1-*')
    await gateways('add', 'gateway-2', '--devices', 'line-2-*')
    const module = bench.module(`export default { group: 'other', types: ['#'], handle() {} }`)
    const consumers = ['history', { module }]
    await bench.start({ consumers, gateways: { unvouched: 'refuse', withoutDevices: 'refuse' } })
    const [honest, liar] = [await userOf('gateway-1'), await userOf('gateway-2')]
    const [ledger, lies] = [new Ledger('gateway-1'), new Ledger('gateway-2', '01JGFJJZ01TESTTESTTESTTEST')]
    // The identity of the honest reading, before the honest gateway has it.
    await liar(lies.next('line-1-4', { id: 'reading-1', data: { temperature: 99 } }))
    await liar(lies.next('line-2-4', { data: { temperature: 30 } }))
    await honest(ledger.next('line-1-4', { id: 'reading-1', data: { temperature: 21 } }))
    await stored('gateway-1', [21])
    await stored('gateway-2', [30])
    expect(await bench.rows(`select 1 from tidegate.ledger_notes`)).toEqual([])
    const letter = await letterOf('history')
    const othersLetter = await letterOf('other')
    for (const { headers } of [letter, othersLetter])
      expect(headers).toMatchObject({
        [names.errorCode]: 'PROVENANCE',
        [names.errorMessage]: expect.stringContaining(
          'line-1-4 is none of the devices that gateway-2 may speak of',
        ) as string,
        [names.originalUser]: 'gateway-2',
      })
    const missing = async (): Promise<unknown> =>
      (await audit(bench.databaseUrl, { gateway: 'gateway-2' })).map((report) => report.gaps.ranges)
    expect(await missing()).toEqual([[[1, 1]]])

    // The device was moved to that gateway, after all.
    await gateways('devices', 'add', 'gateway-2', 'line-1-4')
    const published: number[] = []
    await vi.waitFor(
      async () => {
        const temperature = 40 + published.length
        published.push(temperature)
        await liar(lies.next('line-1-4', { data: { temperature } }))
        // Those of before the cloud knows of it are dead letters, and one of after it is stored.
        await vi.waitFor(async () => {
          const settledOf = await bench.rows(
            `select 1 from tidegate.events where (body->'data'->>'temperature')::float8 = $1`,
            [temperature],
          )
          expect(settledOf).toHaveLength(1)
        })
      },
      { timeout: 15_000, interval: 500 },
    )
    const connection = new Connection({ url: bench.url })
    const publisher = connection.createPublisher({ confirm: true, maxAttempts: 1 })
    opened.push({ close: () => publisher.close().then(() => connection.close()) })
    const queue = String(letter.headers?.[names.originalQueue])
    for (let count = 0; count < published.length; count++) {
      const { body, headers } = count === 0 ? letter : await letterOf('history')
      await publisher.send({ routingKey: queue, durable: true, headers: { ...headers } }, body)
    }
    // The first is the rival of the honest reading, on record; it takes nothing from it.
    await stored('gateway-2', [30, ...published])
    await stored('gateway-1', [21])
    await vi.waitFor(async () => expect(await missing()).toEqual([[]]), { timeout: 10_000 })
    expect(await bench.rows('select gateway, reason from tidegate.ledger_notes')).toEqual([
      { gateway: 'gateway-2', reason: 'rival' },
    ])
  })

  test('that is to refuse gateways without devices does not start before any has some (G9)', async () => {
    bench = await openCloudBench()
    const strict = { gateways: { unvouched: 'accept', withoutDevices: 'refuse' } }
    await expect(bench.start(strict)).rejects.toMatchObject({ code: 'GATEWAY_DEVICES' })
    await gatewaysOf(bench.databaseUrl)('add', 'gateway-1', '--devices', 'device-*')
    await bench.start(strict)
    const others = new Ledger('gateway-2', '01JGFJJZ01TESTTESTTESTTEST')
    await bench.publish([others.next('device-1'), new Ledger('gateway-1').next('device-1', { id: 'other' })])
    await stored('gateway-1', [20.1])
    expect((await letterOf('history')).headers?.[names.errorMessage]).toContain(
      'nobody has said of which devices gateway-2 may speak',
    )
    await stored('gateway-2', [])
  })
})
