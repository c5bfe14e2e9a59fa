import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import type { SchemaOrigin } from '../../../edge/schemas/origin.ts'
import { Schemas, type SchemasOptions } from '../../../edge/schemas/schemas.ts'
import type { Route } from '../../../edge/admission/routes/routes.ts'
import { systemClock } from '../../../src/clock.ts'
import type { SchemasUsed } from '../../../src/contract/schemas-used.ts'
import { FakeClock } from '../../support/fakes/clock.ts'
import { climate, schemaFiles, schemaPlace } from '../../support/edge/signed-schemas.ts'

/** What it logs, by code or by what it says. */
function recording() {
  const lines: { code?: string; reason?: string; msg: string; detail?: string }[] = []
  const log = pino(
    { level: 'info' },
    { write: (line: string) => void lines.push(JSON.parse(line) as (typeof lines)[0]) },
  )
  return { lines, log, codes: () => lines.flatMap(({ code }) => (code === undefined ? [] : [code])) }
}

async function load(origin: SchemaOrigin, more: Partial<SchemasOptions> = {}) {
  const { log, lines, codes } = recording()
  const schemas = await Schemas.load({
    origin,
    routes: [],
    formats: 'checked',
    unknownTypes: 'accept',
    clock: systemClock,
    random: () => 0.5,
    log,
    ...more,
  })
  const noted: SchemasUsed[] = []
  return { schemas, noted, lines, codes, note: (used: SchemasUsed) => void noted.push(used) }
}

/** By which version a reading passes, or why it does not. */
function became({ check }: Schemas, t: number): string {
  const verdict = check(climate, { data: { t } })
  return verdict.ok ? (verdict.dataschema ?? 'unchecked') : verdict.fault.reason
}

function withFile() {
  const place = schemaPlace()
  const signer = place.signer('registry')
  const origin = (keys = [signer.publicFile]): SchemaOrigin => ({
    kind: 'file',
    file: place.at('stick/schemas.snapshot'),
    keys,
    kept: place.at('data/schemas.snapshot'),
  })
  const put = (bytes: Uint8Array): void => void place.write('stick/schemas.snapshot', bytes)
  return { place, signer, origin, put }
}

describe('from a folder', () => {
  test('a change is taken while it runs, and what is counted goes on', async () => {
    const place = schemaPlace()
    for (const [name, text] of schemaFiles({ 1: 100 })) place.write(`schemas/${name}`, text)
    const clock = new FakeClock()
    const { schemas, noted, note } = await load({ kind: 'folder', folder: place.at('schemas') }, { clock })
    schemas.follow(note)
    expect([became(schemas, 50), became(schemas, 150)]).toEqual([`${climate}/1`, 'SCHEMA_VIOLATION'])
    for (const [name, text] of schemaFiles({ 2: 200 })) place.write(`schemas/${name}`, text)
    await clock.until(() => schemas.seen().changes === 1)
    expect([became(schemas, 50), became(schemas, 150)]).toEqual([`${climate}/2`, `${climate}/2`])
    expect(noted.map(({ versions, source }) => ({ versions, source }))).toEqual([
      { versions: 1, source: 'folder' },
      { versions: 2, source: 'folder' },
    ])
    expect(schemas.use.get(`${climate}/1`)).toMatchObject({ fit: 1 })
    await schemas.close()
    await schemas.close()
  })

  test('a state that cannot be used is told once and changes nothing', async () => {
    const place = schemaPlace()
    for (const [name, text] of schemaFiles({ 1: 100 })) place.write(`schemas/${name}`, text)
    const routes: Route[] = [{ topic: 'a', action: 'event', type: climate, schemaVersion: 1 }]
    const { schemas, codes, note } = await load({ kind: 'folder', folder: place.at('schemas') }, { routes })
    schemas.follow(note)
    place.write(`schemas/${climate}/2.json`, '{ "type": ')
    await schemas.reload()
    await schemas.reload()
    expect(codes()).toEqual(['SCHEMA_FOLDER'])
    expect(schemas.seen()).toMatchObject({ changes: 0, refused: { unusable: 2 } })
    for (const [name, text] of schemaFiles({ 2: 200 }, 'retired: [1]\n')) place.write(`schemas/${name}`, text)
    await schemas.reload()
    expect(schemas.seen()).toMatchObject({ changes: 0, refused: { unusable: 3 } })
    expect(became(schemas, 50)).toBe(`${climate}/1`)
    place.write(`schemas/${climate}/type.yaml`, '')
    await schemas.reload()
    expect(became(schemas, 150)).toBe(`${climate}/2`)
    await schemas.close()
  })
})

test('a folder that is emptied, or half copied, turns no device away: it is told, and what was in force stays', async () => {
  const place = schemaPlace()
  for (const [name, text] of schemaFiles({ 1: 100, 2: 200 })) place.write(`schemas/${name}`, text)
  const { schemas, codes, note } = await load(
    { kind: 'folder', folder: place.at('schemas') },
    { unknownTypes: 'reject' },
  )
  schemas.follow(note)
  rmSync(place.at(`schemas/${climate}/2.json`))
  await schemas.reload()
  rmSync(place.at(`schemas/${climate}`), { recursive: true })
  await schemas.reload()
  expect(codes()).toEqual(['SCHEMA_FOLDER', 'SCHEMA_FOLDER'])
  expect(became(schemas, 150)).toBe(`${climate}/2`)
  // Sound but for what its lock names and has not come yet.
  for (const [name, text] of schemaFiles({ 1: 100, 2: 200, 3: 300 })) place.write(`schemas/${name}`, text)
  place.write('schemas/schemas.lock', `${'0'.repeat(64)}  ${climate}/4.json\n`)
  await schemas.reload()
  expect(schemas.seen()).toMatchObject({ changes: 0, refused: { unusable: 3 } })
  rmSync(place.at('schemas/schemas.lock'))
  await schemas.reload()
  expect(became(schemas, 250)).toBe(`${climate}/3`)
  await schemas.close()
})

describe('from a snapshot in a file', () => {
  test('it is used from when it comes, kept, and used at the next start without it', async () => {
    const { place, signer, origin, put } = withFile()
    const clock = new FakeClock()
    const first = await load(origin(), { clock })
    first.schemas.follow(first.note)
    expect(became(first.schemas, 150)).toBe('unchecked')
    put(signer.sign(7, schemaFiles({ 1: 100 })))
    await clock.until(() => became(first.schemas, 150) === 'SCHEMA_VIOLATION')
    expect(first.noted.map(({ source, revision }) => ({ source, revision }))).toEqual([
      { source: 'none', revision: undefined },
      { source: 'file', revision: 7 },
    ])
    await first.schemas.close()
    rmSync(place.at('stick'), { recursive: true })
    const second = await load(origin(), { unknownTypes: 'reject' })
    expect(became(second.schemas, 150)).toBe('SCHEMA_VIOLATION')
    expect(second.schemas.seen().used).toEqual(first.schemas.seen().used)
    await second.schemas.close()
  })

  test('one that is half there, altered, or of a key that is not known changes nothing, and is told once', async () => {
    const { place, signer, origin, put } = withFile()
    put(signer.sign(1, schemaFiles({ 1: 100 })))
    const { schemas, codes, note } = await load(origin())
    schemas.follow(note)
    const next = signer.sign(2, schemaFiles({ 1: 100, 2: 200 }))
    for (const bytes of [next.subarray(0, next.length / 2), place.signer('other').sign(2, new Map())]) {
      put(bytes)
      await schemas.reload()
      await schemas.reload()
    }
    expect(codes()).toEqual(['SCHEMA_SNAPSHOT', 'SCHEMA_SNAPSHOT'])
    expect(schemas.seen()).toMatchObject({ used: { revision: 1 }, refused: { invalid: 4 } })
    put(next)
    await schemas.reload()
    expect(schemas.seen()).toMatchObject({ used: { revision: 2 }, changes: 1 })
    await schemas.close()
  })

  test('an older one, and another of the same number, are refused; a signer who is gone binds nobody', async () => {
    const { place, signer, origin, put } = withFile()
    put(signer.sign(5, schemaFiles({ 1: 100 })))
    const { schemas, codes, note } = await load(origin())
    schemas.follow(note)
    for (const revision of [4, 5]) {
      put(signer.sign(revision, schemaFiles({ 1: 1 })))
      await schemas.reload()
    }
    expect(codes()).toEqual(['SCHEMA_SNAPSHOT_OLDER', 'SCHEMA_SNAPSHOT_OLDER'])
    expect(became(schemas, 50)).toBe(`${climate}/1`)
    await schemas.close()
    const successor = place.signer('successor')
    put(successor.sign(1, schemaFiles({ 1: 10 })))
    const both = await load(origin([signer.publicFile, successor.publicFile]))
    expect(became(both.schemas, 50)).toBe(`${climate}/1`)
    await both.schemas.close()
    const after = await load(origin([successor.publicFile]))
    expect(after.codes()).toEqual(['SCHEMA_SNAPSHOT'])
    expect(became(after.schemas, 50)).toBe('SCHEMA_VIOLATION')
    await after.schemas.close()
  })

  test('an old one is refused after a restart too', async () => {
    const { signer, origin, put } = withFile()
    put(signer.sign(5, schemaFiles({ 1: 100 })))
    await (await load(origin())).schemas.close()
    put(signer.sign(4, schemaFiles({ 1: 1 })))
    const { schemas, codes } = await load(origin())
    expect(codes()).toEqual(['SCHEMA_SNAPSHOT_OLDER'])
    expect(became(schemas, 50)).toBe(`${climate}/1`)
    await schemas.close()
  })

  test('a kept one that is proven and cannot be used lets nothing older in', async () => {
    const { signer, origin, put, place } = withFile()
    const routes: Route[] = [{ topic: 'a', action: 'event', type: climate, schemaVersion: 1 }]
    place.write('data/schemas.snapshot', signer.sign(5, schemaFiles({ 2: 200 })))
    put(signer.sign(4, schemaFiles({ 1: 1 })))
    await expect(load(origin(), { routes })).rejects.toMatchObject({ code: 'SCHEMA_SNAPSHOT_MISSING' })
    put(signer.sign(6, schemaFiles({ 1: 100 })))
    const { schemas } = await load(origin(), { routes })
    expect(schemas.seen().used.revision).toBe(6)
    await schemas.close()
  })

  test('what cannot be kept is not used, until it can', async () => {
    const { place, signer, origin, put } = withFile()
    put(signer.sign(1, schemaFiles({ 1: 100 })))
    const { schemas, codes, note } = await load(origin())
    schemas.follow(note)
    // In the way of the draft.
    mkdirSync(place.at('data/schemas.snapshot.tmp/x'), { recursive: true })
    put(signer.sign(2, schemaFiles({ 1: 1 })))
    await schemas.reload()
    expect(codes()).toEqual(['SCHEMA_SNAPSHOT_UNKEPT'])
    expect(became(schemas, 50)).toBe(`${climate}/1`)
    rmSync(place.at('data/schemas.snapshot.tmp'), { recursive: true, force: true })
    await schemas.reload()
    expect(became(schemas, 50)).toBe('SCHEMA_VIOLATION')
    await schemas.close()
  })

  test('a kept one that is damaged is told; without any, a start is refused where readings would be turned away', async () => {
    const { place, origin } = withFile()
    place.write('data/schemas.snapshot', 'damaged')
    const { schemas, codes } = await load(origin())
    expect(codes()).toEqual(['SCHEMA_SNAPSHOT', 'SCHEMA_SNAPSHOT_MISSING'])
    expect(became(schemas, 50)).toBe('unchecked')
    await schemas.close()
    const refused = { code: 'SCHEMA_SNAPSHOT_MISSING', retryable: true }
    await expect(load(origin(), { unknownTypes: 'reject' })).rejects.toMatchObject(refused)
    const routes: Route[] = [{ topic: 'a', action: 'event', type: climate, schemaVersion: 1 }]
    await expect(load(origin(), { routes })).rejects.toMatchObject(refused)
  })

  test('code in it is never loaded', async () => {
    const { place, signer, origin, put } = withFile()
    const mark = place.at('was-run')
    const files = schemaFiles({ 1: 100, 2: 200 })
    files.set(
      `${climate}/upcast/1-2.js`,
      `import { writeFileSync } from 'node:fs'; writeFileSync('${mark}', '')`,
    )
    put(signer.sign(1, files))
    const { schemas } = await load(origin())
    expect(became(schemas, 150)).toBe(`${climate}/2`)
    expect(existsSync(mark)).toBe(false)
    expect(readFileSync(place.at('data/schemas.snapshot'))).toEqual(
      readFileSync(place.at('stick/schemas.snapshot')),
    )
    await schemas.close()
  })
})
