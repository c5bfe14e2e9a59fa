import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Command } from 'commander'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { registerSchemaCommand } from '../../../cloud/schemas/command.ts'
import { openSnapshot } from '../../../src/schemas/snapshot.ts'
import { type ServedApi, serveApi } from '../../support/cloud/served-api.ts'
import { useFolder } from '../../support/kept-folder.ts'

const root = useFolder('tidegate-schema-api-')
let served: ServedApi
let registrar: string
beforeEach(async () => {
  served = await serveApi()
  registrar = await served.tokenOf('registrar')
})
afterEach(async () => {
  vi.unstubAllEnvs()
  process.exitCode = undefined
  await served.close()
})

const temperature = (maximum: number): string =>
  JSON.stringify({ properties: { temperature: { type: 'number', maximum } } })
const climate = { path: 'com.acme.climate/1.json', text: temperature(100) }
const hotter = { path: 'com.acme.climate/2.json', text: temperature(200) }
const cooler = { path: 'com.acme.climate/2.json', text: temperature(50) }

function post(path: string, body: object, token = registrar, key: string = randomUUID()): Promise<Response> {
  const headers = {
    authorization: `Bearer ${token}`,
    'content-type': 'application/json',
    'idempotency-key': key,
  }
  return fetch(served.url + path, { method: 'POST', headers, body: JSON.stringify(body) })
}
const apply = (files: object[], more: object = {}): Promise<Response> =>
  post('/v1/schemas/apply', { files, reason: 'rooms', ...more })
const json = async (path: string, token = registrar): Promise<unknown> =>
  (await served.get(path, token)).json()

test('what is published can be read, a type with its files and a version with its schema', async () => {
  expect(
    await (
      await apply([climate, { path: 'com.acme.climate/type.yaml', text: 'retired: []\nowner: ann\n' }])
    ).json(),
  ).toMatchObject({
    outcome: 'applied',
    revision: 1,
    isSigned: false,
  })
  expect(await (await apply([climate])).json()).toMatchObject({ outcome: 'nothing', revision: 1 })
  await apply([hotter])
  const viewer = await served.tokenOf('viewer')
  expect(await json('/v1/schemas', viewer)).toMatchObject({
    revision: 2,
    types: [{ type: 'com.acme.climate', versions: [1, 2], owner: 'ann', compatibility: 'BACKWARD' }],
    files: [{ path: climate.path }, { path: hotter.path }, { path: 'com.acme.climate/type.yaml' }],
    revisions: [{ revision: 2 }, { revision: 1 }],
    inUse: { origin: 'none', digest: null },
  })
  // Who has published, and why, is a deed.
  const named = { revision: 2, actor: 'token:a-registrar', reason: 'rooms' }
  const byRole = async (role: 'viewer' | 'auditor', more?: { types: string[] }) =>
    ((await json('/v1/schemas', await served.tokenOf(role, more))) as { revisions: object[] }).revisions[0]
  expect(await byRole('auditor')).toMatchObject(named)
  for (const seen of [await byRole('viewer'), await byRole('auditor', { types: ['com.acme.climate'] })]) {
    expect(seen).not.toHaveProperty('actor')
    expect(seen).not.toHaveProperty('reason')
  }
  expect(await json('/v1/schemas/com.acme.climate', viewer)).toMatchObject({ files: [climate, hotter, {}] })
  expect(await json('/v1/schemas/com.acme.climate/2', viewer)).toMatchObject({
    schema: JSON.parse(hotter.text) as object,
  })
  for (const path of ['com.acme.energy', 'com.acme.climate/3'])
    expect((await served.get(`/v1/schemas/${path}`, viewer)).status).toBe(404)
  const other = await served.tokenOf('viewer', { types: ['com.acme.energy'] })
  expect((await served.get('/v1/schemas/com.acme.climate/1', other)).status).toBe(404)
  expect(await json('/v1/schemas', other)).toMatchObject({ types: [], files: [] })
})

test('files are judged without being published; what breaks is refused, and says where', async () => {
  await apply([climate])
  expect(await (await post('/v1/schemas/check', { files: [hotter] })).json()).toMatchObject({
    ok: true,
    before: { revision: 1 },
    after: { revision: 2 },
    changes: [{ path: hotter.path, kind: 'added' }],
    lacking: [climate.path],
    stored: { ok: true },
  })
  expect(await (await post('/v1/schemas/check', { files: [cooler] })).json()).toMatchObject({
    ok: false,
    checked: { inTheWay: 1 },
  })
  const refused = await apply([cooler])
  expect([refused.status, await refused.json()]).toMatchObject([
    422,
    {
      code: 'SCHEMA_REFUSED',
      faults: [{ path: cooler.path, text: 'maximum at /temperature, against version 1' }],
    },
  ])
  const rewritten = await apply([{ ...climate, text: temperature(120) }])
  expect([rewritten.status, await rewritten.json()]).toMatchObject([409, { code: 'SCHEMA_PUBLISHED' }])
  const junk = await apply([{ path: 'com.acme.climate/upcast/../../../x.js', text: '1' }])
  expect([junk.status, await junk.json()]).toMatchObject([422, { code: 'SCHEMA_FOLDER' }])
  expect(await json('/v1/schemas')).toMatchObject({ revision: 1 })
})

test('only a registrar publishes, one for some types nothing of others; a gateway fetches the snapshot and nothing else', async () => {
  for (const role of ['viewer', 'analyst', 'operator', 'editor', 'auditor', 'gateway'] as const) {
    const token = await served.tokenOf(role)
    expect([
      role,
      (await post('/v1/schemas/apply', { files: [climate], reason: 'x' }, token)).status,
    ]).toEqual([role, 403])
    expect([role, (await post('/v1/schemas/check', { files: [climate] }, token)).status]).toEqual([role, 403])
  }
  const narrow = await served.tokenOf('registrar', { types: ['com.acme.energy'] })
  expect((await post('/v1/schemas/apply', { files: [climate], reason: 'x' }, narrow)).status).toBe(403)
  const gateway = await served.tokenOf('gateway')
  for (const path of [
    '/v1/schemas',
    '/v1/schemas/com.acme.climate',
    '/v1/dead-letters',
    '/v1/groups',
    '/v1/deeds',
  ])
    expect([path, (await served.get(path, gateway)).status]).toEqual([path, 403])
  const none = await served.get('/v1/schemas/snapshot', gateway)
  expect([none.status, await none.json()]).toMatchObject([404, { code: 'SCHEMA_SNAPSHOT_NONE' }])
})

function newKey() {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const key = join(root, `${randomUUID()}.key`)
  writeFileSync(key, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
  return { key, publicKey }
}

/** The command, by the API, with a folder of these files. */
function commandOn(files: readonly { path: string; text: string }[]) {
  const folder = mkdtempSync(join(root, 'schemas-'))
  for (const { path, text } of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), text)
  }
  vi.stubEnv('TIDEGATE_TOKEN', registrar)
  const lines: string[] = []
  const schema = async (...words: string[]): Promise<void> => {
    const program = new Command('tidegate').exitOverride()
    registerSchemaCommand(program, {
      say: (text) => lines.push(text),
      onFound: () => lines.push('found'),
      until: () => new AbortController().signal,
    })
    await program.parseAsync(['schema', ...words, '--folder', folder, '--api', served.url], { from: 'user' })
  }
  return { schema, lines }
}

test('the command publishes by the API; what it signs, with a key that stays here, is served as it was signed, to who has it already without its bytes', async () => {
  const { key, publicKey } = newKey()
  // What the folder lacks is of the state that is signed, too.
  await apply([{ path: 'com.acme.energy/1.json', text: '{}' }])
  const { schema, lines } = commandOn([climate])
  await schema('apply', '--reason', 'rooms', '--key', key)
  expect(lines.join('\n')).toMatch(
    /NEW {8}com\.acme\.climate\/1\.json[\s\S]*the registry is at revision 2, [0-9a-f]{12}, and its snapshot is signed$/,
  )
  await schema('list')
  expect(lines.at(-1)).toMatch(/^revision 2[\s\S]*com\.acme\.energy\/1\.json  in the registry alone/)

  const gateway = await served.tokenOf('gateway')
  const first = await served.get('/v1/schemas/snapshot', gateway)
  expect(first.headers.get('content-type')).toBe('application/vnd.tidegate.schemas.dsse+json')
  expect(first.headers.get('cache-control')).toBe('private, no-cache')
  const { revision, files } = openSnapshot(new Uint8Array(await first.arrayBuffer()), [publicKey])
  expect([revision, [...files.keys()]]).toEqual([2, [climate.path, 'com.acme.energy/1.json']])
  const etag = first.headers.get('etag') ?? ''
  expect(etag).toMatch(/^"[0-9a-f]{64}"$/)
  const headers = { authorization: `Bearer ${gateway}`, 'if-none-match': etag }
  const again = await fetch(`${served.url}/v1/schemas/snapshot`, { headers })
  expect([again.status, await again.text(), again.headers.get('etag')]).toEqual([304, '', etag])

  const moved = await apply([hotter], { snapshot: Buffer.from('{}').toString('base64') })
  expect([moved.status, await moved.json()]).toMatchObject([422, { code: 'SCHEMA_SNAPSHOT' }])
})

const snapshots = (): Promise<object[]> =>
  served.database.query('select revision, sha256 from tidegate.schema_snapshots order by revision')

test('what is published and signed is not signed again by the API; what stays there is what the folder lacks', async () => {
  const { key } = newKey()
  const { schema, lines } = commandOn([climate])
  await schema('apply', '--reason', 'rooms', '--key', key)
  const [first] = await snapshots()
  await schema('apply', '--reason', 'rooms', '--key', key)
  expect(await snapshots()).toEqual([first])
  await schema('apply', '--reason', 'rooms', '--key', newKey().key)
  expect(await snapshots()).toHaveLength(2)

  await apply([hotter, { path: 'com.acme.energy/1.json', text: '{}' }])
  lines.length = 0
  await schema('apply', '--reason', 'rooms', '--dry-run')
  expect(lines.join('\n').match(/^STAYS.*$/gm)).toEqual([
    `STAYS      ${hotter.path}: the registry has it, and these files have not`,
  ])
})

test('an apply whose answer was lost is answered as the first time, signed or not, whatever was published since; another one under its key is refused', async () => {
  const { key } = newKey()
  const deed = randomUUID()
  const { schema, lines } = commandOn([climate])
  const again = (): Promise<void> => schema('apply', '--reason', 'rooms', '--key', key, '--deed', deed)
  await again()
  const said = lines.join('\n').split('\n').at(-1)
  expect(said).toMatch(/^the registry is at revision 1, [0-9a-f]{12}, and its snapshot is signed$/)
  const body = { files: [climate], reason: 'rooms' }
  const answer = await (await post('/v1/schemas/apply', body, registrar, deed)).json()
  expect(answer).toMatchObject({ outcome: 'applied', revision: 1, isSigned: true })
  await apply([hotter])
  await again()
  expect(lines.join('\n').split('\n').at(-1)).toBe(said)
  expect(await (await post('/v1/schemas/apply', body, registrar, deed)).json()).toEqual(answer)
  for (const other of [
    { files: [climate], reason: 'others' },
    { files: [hotter], reason: 'rooms' },
  ]) {
    const refused = await post('/v1/schemas/apply', other, registrar, deed)
    expect([refused.status, await refused.json()]).toMatchObject([409, { code: 'IDEMPOTENCY_KEY_REUSED' }])
  }
  expect(await served.database.query('select from tidegate.schema_snapshots')).toHaveLength(1)
})
