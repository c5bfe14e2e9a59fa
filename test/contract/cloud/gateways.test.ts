import 'reflect-metadata'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { addGateway, setState } from '../../../cloud/gateways/registry-postgres.ts'
import { createDatabase as poolOf } from '../../../cloud/database/database-postgres.ts'
import { issueCertificate } from '../../../certs/issue.ts'
import { createAuthority } from '../../../certs/authority.ts'
import { mirrorQueue, headers as names } from '../../../src/contract/wire.ts'
import { command, databaseWith } from '../../support/cloud/audited-database.ts'
import { type CloudBench, openCloudBench } from '../../support/cloud/cloud.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { createDatabase } from '../../support/servers.ts'
import { testSigner } from '../../support/fakes/signer.ts'

const folder = mkdtempSync(join(tmpdir(), 'tidegate-gateways-'))
afterAll(() => rmSync(folder, { recursive: true }))

let url: string
let cert: string
beforeAll(async () => {
  url = await databaseWith([])
  const authority = await createAuthority(folder, {})
  const issued = await issueCertificate(authority, {
    commonName: 'gateway-1',
    kind: 'client',
    role: 'gateway',
    outDir: folder,
  })
  cert = issued.certFile
})

const gateways = (...args: string[]): ReturnType<typeof command> => command('gateways', ...args, '-d', url)

test('a gateway is registered, keyed, renamed, suspended and listed by the command (G9)', async () => {
  expect((await gateways('list')).stdout).toBe('no gateway is registered\n')
  const added = await gateways('add', 'gateway-1', '--cert', cert)
  const key = /with key ([0-9a-f]{64})$/m.exec(added.stdout)?.[1] ?? ''
  expect((await command('certs', 'inspect', cert)).stdout).toContain(`key          ${key}`)
  const { publicKey } = testSigner(2)
  const second = join(folder, 'second.pem')
  writeFileSync(second, publicKey.export({ type: 'spki', format: 'pem' }))
  expect((await gateways('key', 'add', 'gateway-1', '--cert', second)).code).toBe(0)
  expect((await gateways('key', 'retire', 'gateway-1', key.slice(0, 12))).stdout).toContain(key)
  expect((await gateways('suspend', 'gateway-1')).stdout).toContain('is suspended')
  expect((await gateways('rename', 'gateway-1', 'gateway-2')).code).toBe(0)
  const listed = (await gateways('list')).stdout.split('\n')
  expect(listed).toHaveLength(6)
  expect(listed[0]).toMatch(/^gateway-1 {2}suspended since /)
  expect(listed.filter((line) => line.includes(key))).toEqual([expect.stringContaining(', retired 20')])
  expect(listed[3]).toMatch(/^gateway-2 {2}active since .*, was called gateway-1$/)
  expect((await gateways('resume', 'gateway-1')).stdout).toBe('gateway-1 is active\n')
  expect(JSON.parse((await gateways('list', '--json')).stdout)).toMatchObject({
    gateways: [
      { name: 'gateway-1', state: 'active', keys: [{}, {}] },
      { name: 'gateway-2', keys: [{}] },
    ],
    names: [{ former: 'gateway-1', gateway: 'gateway-2' }],
  })
})

test('what cannot be registered is said with what to do', async () => {
  await gateways('add', 'gateway-5')
  const refused: [string[], string, number][] = [
    [['add', 'gateway-5'], 'GATEWAY_TAKEN', 1],
    [['suspend', 'gateway-6'], 'GATEWAY_UNKNOWN', 1],
    [['key', 'retire', 'gateway-5', 'abcd'], 'GATEWAY_KEY', 1],
    [['add', 'gateway-7', '--cert', join(folder, 'none.crt')], 'TLS_FILE_MISSING', 1],
    [['add', 'gateway-7', '--cert', cert.replace('.crt', '.key')], 'TLS_FILE_CORRUPT', 1],
    [['rename', 'gateway-5', 'gateway-5'], 'GATEWAY_TAKEN', 1],
    [['add', 'gate/way'], 'A name has letters', 2],
    [['key', 'retire', 'gateway-5', 'xyz'], 'hexadecimal', 2],
  ]
  for (const [args, why, code] of refused) {
    const said = await gateways(...args)
    expect(said).toMatchObject({ code, stdout: '' })
    expect(said.stderr).toContain(why)
  }
  const old = await command('gateways', 'list', '-d', await createDatabase())
  expect(old.stderr).toContain('DATABASE_OLDER')
})

let bench: CloudBench
beforeEach(async () => {
  bench = await openCloudBench()
})
afterEach(() => bench.close())

test('events of a gateway that nobody has registered, or that is suspended, are dead letters; of the others they are stored (G9)', async () => {
  const database = poolOf({ url: bench.databaseUrl, poolMax: 1, applicationName: 'test' })
  const query = database.query.bind(database)
  await (await bench.start()).stop()
  for (const name of ['gateway-1', 'gateway-2']) await addGateway(query, name, undefined)
  await setState(query, 'gateway-2', 'suspended')
  await database.close()
  await bench.start({ gateways: { unvouched: 'accept', unknown: 'refuse' } })
  const epochs = ['01JGFJJZ00TESTTESTTESTTEST', '01JGFJJZ01TESTTESTTESTTEST', '01JGFJJZ02TESTTESTTESTTEST']
  await bench.publish(
    ['gateway-1', 'gateway-2', 'gateway-99'].map((name, index) =>
      new Ledger(name, epochs[index]).next(`d-${index}`),
    ),
  )
  await vi.waitFor(async () => expect(await bench.depth(mirrorQueue('history'))).toBe(2), { timeout: 10_000 })
  await vi.waitFor(
    async () =>
      expect(await bench.rows('select gateway from tidegate.events')).toEqual([{ gateway: 'gateway-1' }]),
    { timeout: 10_000 },
  )
  const letters = [await bench.get(mirrorQueue('history')), await bench.get(mirrorQueue('history'))]
  expect(letters.map((letter) => letter?.headers?.[names.errorCode])).toEqual(['PROVENANCE', 'PROVENANCE'])
})
