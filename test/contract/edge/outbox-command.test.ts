import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Exported } from '../../../edge/outbox/look/export.ts'
import { inPieces } from '../../../edge/outbox-tool/export-filter.ts'
import { levelFolder } from '../../../edge/store/store-level.ts'
import { systemClock as clock } from '../../../src/clock.ts'
import { candidate } from '../../support/edge/outbox-events.ts'
import { openTestOutbox } from '../../support/edge/test-outbox.ts'

const events = 3000
let root: string
let dataDir: string

/** More than a pipe holds. */
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tidegate-outbox-command-'))
  dataDir = join(root, 'data')
  const outbox = await openTestOutbox({
    folder: levelFolder({ folder: join(dataDir, 'outbox'), reserveBytes: 0, clock }),
    clock,
  })
  const noise = 'x'.repeat(300)
  await Promise.all(
    Array.from({ length: events }, (_, index) =>
      outbox.append({ candidate: candidate('d1', `e${index}`, { noise }), lane: 'normal', qos: 1 }),
    ),
  )
  await outbox.close()
})
afterAll(() => rm(root, { recursive: true }))

function start(...args: string[]): ChildProcessWithoutNullStreams {
  return spawn(process.execPath, ['dist/cli/tidegate.js', 'outbox', ...args])
}

async function outbox(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const child = start(...args)
  let [out, err] = ['', '']
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()))
  const [code] = (await once(child, 'close')) as [number]
  return { code, out, err }
}

const left = async (): Promise<string[]> =>
  (await readdir(join(dataDir, 'outbox'))).filter((name) => name.startsWith('look-'))

describe('tidegate outbox', () => {
  test('export ends quietly when its reader has had enough, and leaves nothing behind', async () => {
    const child = start('export', '-d', dataDir)
    child.stdout.once('data', () => child.stdout.destroy())
    let err = ''
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()))
    expect(await once(child, 'close')).toEqual([0, null])
    expect(err).toBe('')
    expect(await left()).toEqual([])
  })

  test('export leaves nothing behind when it is interrupted', async () => {
    const child = start('export', '-d', dataDir)
    await once(child.stdout, 'readable')
    expect(await left()).toHaveLength(1)
    child.kill('SIGINT')
    child.stdout.resume()
    expect(await once(child, 'close')).toEqual([130, null])
    expect(await left()).toEqual([])
  })

  test('export says of a file that cannot be written which it is, before it reads anything', async () => {
    const { code, err } = await outbox('export', '-d', dataDir, '-o', join(root, 'none', 'queue.ndjson'))
    expect(code).toBe(1)
    expect(err).toMatch(
      /^tidegate: cannot write .*none\/queue.ndjson.*\n +hint: .*\n +code: +EXPORT_UNWRITABLE/,
    )
  })

  test('inspect needs no folder but the data folder: in its container all else is read-only', async () => {
    const child = spawn(process.execPath, ['dist/cli/tidegate.js', 'outbox', 'inspect', '-d', dataDir], {
      env: { ...process.env, TMPDIR: join(root, 'none') },
    })
    let out = ''
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
    expect(await once(child, 'close')).toEqual([0, null])
    expect(out).toMatch(/^gateway +gw-1, stopped\n/)
  })

  test('export writes a line an event', async () => {
    const file = join(root, 'queue.ndjson')
    expect(await outbox('export', '-d', dataDir, '-o', file)).toEqual({ code: 0, out: '', err: '' })
    const ids = (await readFile(file, 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown)
    expect(ids).toMatchObject(Array.from({ length: events }, (_, index) => ({ id: `e${index}` })))
  })

  test('export goes on past what is damaged, says how much that was, and ends with 1', async () => {
    const damaged = join(root, 'damaged')
    await cp(dataDir, damaged, { recursive: true })
    const store = await levelFolder({ folder: join(damaged, 'outbox'), reserveBytes: 0, clock }).open()
    const [entry] = await store.entries({ gte: 'e!n!', lt: 'e!n!~' }, 1)
    const [key = '', value = ''] = entry ?? []
    const altered = value.replace('"id":"e0"', '"id":"e?"')
    await store.write([{ type: 'put', key, value: altered }], { sync: true })
    await store.close()
    const { code, out, err } = await outbox('export', '-d', damaged)
    expect(code).toBe(1)
    expect(out.trim().split('\n')).toHaveLength(events - 1)
    expect(err).toMatch(/left out: .*position 1 .*\n.*: 1 damaged record was left out/)
  })
})

async function* tenThousand(): AsyncIterable<Exported> {
  for (let index = 0; index < 10_000; index++) yield { text: 'x'.repeat(99) }
}

test('an export is sent in pieces, not an event at a time', async () => {
  const pieces: string[] = []
  for await (const piece of inPieces(tenThousand(), (one) => ('text' in one ? one.text : undefined)))
    pieces.push(piece)
  expect(pieces.join('')).toHaveLength(1_000_000)
  expect(pieces.length).toBeLessThan(20)
})
