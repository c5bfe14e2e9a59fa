import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Command, CommanderError } from 'commander'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { registerSchemaCommand } from '../../../cloud/schemas/command.ts'
import { publishFile, publishInLock } from '../../../cloud/schemas/publishing.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tidegate-schemas-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const climate = 'com.acme.climate'

function write(files: Record<string, unknown>): void {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, name)), { recursive: true })
    writeFileSync(join(dir, name), typeof content === 'string' ? content : JSON.stringify(content))
  }
}

const read = (name: string): string => readFileSync(join(dir, name), 'utf8')

/** What it prints and ends with. */
async function schema(...words: string[]): Promise<{ text: string; code: number }> {
  const lines: string[] = []
  let code = 0
  const program = new Command('tidegate')
    .exitOverride()
    .configureOutput({ writeErr: (text) => lines.push(text), writeOut: (text) => lines.push(text) })
  registerSchemaCommand(program, { say: (text) => lines.push(text), onFound: () => (code = 1) })
  try {
    await program.parseAsync(['schema', ...words, '--folder', dir], { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    code = error.exitCode === 1 ? 2 : error.exitCode
  }
  return { text: lines.join('\n'), code }
}

const serial = (pattern: string, format: string): object => ({
  properties: { code: { type: 'string', pattern, format } },
})
const coded = (pattern: string): object => ({ properties: { code: { type: 'string', pattern } } })

const of = (maximum: number, more: object = {}): object => ({
  type: 'object',
  properties: { temperature: { type: 'number', maximum }, ...more },
  required: ['temperature'],
})

const halved = '- unit: { path: /temperature, scale: 0.5 }\n'

/** A file of a schema that is not in its place. */
function written(content: object): string {
  const file = join(mkdtempSync(join(dir, '.new-')), 'climate.json')
  writeFileSync(file, JSON.stringify(content))
  return file
}

describe('tidegate schema check', () => {
  test('is silent about what is fine, and says how much that was', async () => {
    write({ [`${climate}/1.json`]: of(100), [`${climate}/2.json`]: of(150) })
    await schema('add', climate)
    expect(await schema('check')).toEqual({
      text: 'fine: 1 event type, 1 comparison, 1000 generated documents',
      code: 0,
    })
  })

  test('of a break it says rule, path, both sides, direction, a document that shows it, and what to do', async () => {
    write({ [`${climate}/1.json`]: of(150) })
    await schema('add', climate)
    write({ [`${climate}/2.json`]: of(120) })
    const { text, code } = await schema('check')
    expect(code).toBe(1)
    expect(text).toContain(
      `${climate} 1 to 2  BACKWARD: version 2 is to read what version 1 has written: incompatible`,
    )
    expect(text).toContain('BREAKS     maximum at /temperature: version 1 says 150, version 2 says 120')
    expect(text).toContain('(2.json#/properties/temperature/maximum)')
    expect(text).toMatch(/version 1 accepts it, version 2 does not: \{"temperature":1[2-5]\d(\.\d)?\}/)
    expect(text).toContain('(/temperature must be <= 120)')
    expect(text).toContain('upcast/1-2.yaml')
    expect(text).toContain(`NOT LOCKED ${climate}/2.json: tidegate schema add ${climate}`)
  })

  test('compares by the mode of the type', async () => {
    write({ [`${climate}/1.json`]: of(100), [`${climate}/2.json`]: of(150), [`${climate}/3.json`]: of(120) })
    const answers = async (mode: string, ...more: string[]): Promise<string[]> => {
      write({ [`${climate}/type.yaml`]: `compatibility: ${mode}\n` })
      const { text } = await schema('check', '--json', '--all', ...more)
      const { types } = JSON.parse(text) as {
        types: { comparisons: { version: number; against: number; direction: string; answer: string }[] }[]
      }
      return types.flatMap(({ comparisons }) =>
        comparisons.map((one) => `${one.direction} ${one.against}-${one.version} ${one.answer}`),
      )
    }
    expect(await answers('NONE')).toEqual([])
    expect(await answers('BACKWARD')).toEqual(['BACKWARD 1-2 compatible', 'BACKWARD 2-3 incompatible'])
    expect(await answers('FORWARD')).toEqual(['FORWARD 1-2 incompatible', 'FORWARD 2-3 compatible'])
    expect(await answers('BACKWARD_TRANSITIVE')).toEqual([
      'BACKWARD 1-2 compatible',
      'BACKWARD 2-3 incompatible',
      'BACKWARD 1-3 compatible',
    ])
    expect(await answers('FORWARD_TRANSITIVE')).toContain('FORWARD 1-3 incompatible')
    expect(await answers('FULL')).toHaveLength(4)
    expect(await answers('FULL_TRANSITIVE')).toHaveLength(6)
  })

  test('an optional property on an open model is told and does not count, unless that is asked for', async () => {
    write({ [`${climate}/1.json`]: of(100), [`${climate}/2.json`]: of(100, { site: { type: 'string' } }) })
    expect((await schema('add', climate)).code).toBe(0)
    const { text, code } = await schema('check')
    expect(text).toContain('open model type at /site: version 1 says nothing, version 2 says "string"')
    expect(code).toBe(0)
    expect((await schema('check', '--strict')).code).toBe(1)
  })

  test('what is unknown counts until somebody accepts it, with a reason', async () => {
    write({ [`${climate}/1.json`]: coded('^[A-F]{2}$'), [`${climate}/2.json`]: coded('^[A-Z]+$') })
    const first = await schema('add', climate)
    expect(first).toMatchObject({ code: 1, text: expect.stringContaining('UNKNOWN    pattern at /code') })
    const path = /path: "([^"]+)"/.exec(first.text)?.[1]
    write({
      [`${climate}/type.yaml`]: `accepted: [{ version: 2, against: 1, rule: pattern, path: "${path}", reason: 'A-F is in A-Z' }]\n`,
    })
    expect((await schema('add', climate)).code).toBe(0)
    expect((await schema('check')).text).toContain('accepted in type.yaml: A-F is in A-Z')
  })

  test('what upcasters bring forward does not count, if they make a whole way', async () => {
    write({ [`${climate}/1.json`]: of(150), [`${climate}/2.json`]: of(120), [`${climate}/3.json`]: of(110) })
    write({
      [`${climate}/type.yaml`]: 'compatibility: BACKWARD_TRANSITIVE',
      [`${climate}/upcast/1-2.yaml`]: halved,
    })
    expect((await schema('add', climate)).code).toBe(1)
    write({ [`${climate}/upcast/2-3.yaml`]: halved })
    expect((await schema('add', climate)).code).toBe(0)
    expect((await schema('check')).text).toContain(
      'data of version 1 is brought forward before it is read: upcast/1-2.yaml, upcast/2-3.yaml, which carries this document',
    )
    expect(read('schemas.lock')).toContain(`  ${climate}/upcast/1-2.yaml`)
  })

  test('says whether upcasters carry the document that shows a break; what they do not carry counts if that is asked for', async () => {
    write({
      [`${climate}/1.json`]: of(150, { unit: {} }),
      [`${climate}/2.json`]: of(20),
      [`${climate}/upcast/1-2.yaml`]: '- drop: /unit\n',
    })
    await schema('add', climate)
    expect(await schema('check')).toMatchObject({
      code: 0,
      text: expect.stringContaining('which does not carry this document (/temperature must be <= 20)'),
    })
    expect((await schema('check')).text).toMatch(/the upcasters carry \d+ of \d+ generated documents; not \{/)
    expect((await schema('check', '--strict')).code).toBe(1)
  })

  test('an upcaster that cannot be used is a fault, and does not come into the lock', async () => {
    write({ [`${climate}/1.json`]: of(150), [`${climate}/2.json`]: of(150) })
    write({ [`${climate}/upcast/1-2.yaml`]: 'x' })
    await expect(schema('add', climate)).rejects.toMatchObject({ code: 'SCHEMA_FOLDER' })
    expect(await schema('check')).toMatchObject({ code: 1, text: expect.stringContaining('upcast/1-2.yaml') })
  })

  test('what is accepted is so by its rule and its direction: no other finding at the place is, and never what was not looked at', async () => {
    write({
      [`${climate}/1.json`]: serial('^[A-F]{2}$', 'x-serial'),
      [`${climate}/2.json`]: serial('^[A-Z]+$', 'x-code'),
      [`${climate}/type.yaml`]: 'accepted: [{ version: 2, rule: pattern, path: /code, reason: x }]\n',
    })
    const { text, code } = await schema('add', climate)
    expect(code).toBe(1)
    expect(text).toContain('accepted   pattern at /code')
    expect(text).toContain('UNKNOWN    format at /code')
  })

  test('formats are annotations where both sides take them for that', async () => {
    write({
      [`${climate}/1.json`]: { properties: { at: { type: 'string' } } },
      [`${climate}/2.json`]: { properties: { at: { type: 'string', format: 'date-time' } } },
    })
    expect((await schema('add', climate)).code).toBe(1)
    expect((await schema('add', climate, '--formats', 'annotation')).code).toBe(0)
  })

  test('line ends that a checkout has changed are no change', async () => {
    const text = JSON.stringify(of(100), undefined, 2)
    write({ [`${climate}/1.json`]: text })
    await schema('add', climate)
    write({ [`${climate}/1.json`]: text.replaceAll('\n', '\r\n') })
    write({ 'schemas.lock': read('schemas.lock').replaceAll('\n', '\r\n') })
    expect((await schema('check')).code).toBe(0)
  })

  test('where nothing could be generated, it says so', async () => {
    write({
      [`${climate}/1.json`]: { type: 'string', minLength: 5000 },
      [`${climate}/2.json`]: { type: 'string', minLength: 4999 },
    })
    await schema('add', climate)
    expect(await schema('check')).toMatchObject({ code: 0, text: expect.stringContaining('by rule alone') })
  })

  test('finds a published file that was changed, and one that is gone', async () => {
    write({ [`${climate}/1.json`]: of(100), [`${climate}/2.json`]: of(150) })
    await schema('add', climate)
    write({ [`${climate}/1.json`]: of(99) })
    rmSync(join(dir, climate, '2.json'))
    const { text, code } = await schema('check')
    expect(code).toBe(1)
    expect(text).toContain(`${climate}/1.json: was changed after it was published`)
    expect(text).toContain(`${climate}/2.json: is in schemas.lock and not on the disk`)
  })

  test('a type that is not there is a fault of the command line, with what was meant', async () => {
    write({ [`${climate}/1.json`]: of(100) })
    expect(await schema('check', 'com.acme.climat')).toEqual({
      code: 2,
      text: expect.stringContaining('did you mean com.acme.climate?'),
    })
  })
})

describe('tidegate schema add', () => {
  test('writes the next version, and a lock that sha256sum agrees with', async () => {
    const file = join(mkdtempSync(join(dir, '.new-')), 'climate.json')
    writeFileSync(file, JSON.stringify(of(100)))
    expect((await schema('add', climate, file)).text).toBe(`added: ${climate}/1.json`)
    writeFileSync(file, JSON.stringify(of(150)))
    expect((await schema('add', climate, file)).text).toBe(`added: ${climate}/2.json`)
    expect(read(`${climate}/2.json`)).toBe(JSON.stringify(of(150)))
    expect(execFileSync('sha256sum', ['-c', 'schemas.lock'], { cwd: dir, encoding: 'utf8' })).toBe(
      `${climate}/1.json: OK\n${climate}/2.json: OK\n`,
    )
  })

  test('writes nothing of what the mode does not allow, nor of what is no schema', async () => {
    write({ [`${climate}/1.json`]: of(150) })
    await schema('add', climate)
    const lock = read('schemas.lock')
    const file = join(mkdtempSync(join(dir, '.new-')), 'climate.json')
    writeFileSync(file, JSON.stringify(of(100)))
    expect(await schema('add', climate, file)).toMatchObject({
      code: 1,
      text: expect.stringContaining('not added: nothing was written'),
    })
    writeFileSync(file, '{"minimun": 1}')
    await expect(schema('add', climate, file)).rejects.toMatchObject({
      code: 'SCHEMA_FILE',
      message: expect.stringContaining('did you mean "minimum"?'),
    })
    expect(existsSync(join(dir, climate, '2.json'))).toBe(false)
    expect(read('schemas.lock')).toBe(lock)
  })

  test('two at once: one of them is told to wait, and nothing is lost', async () => {
    write({ [`${climate}/1.json`]: of(100), 'com.acme.power/1.json': {} })
    const ended = await Promise.allSettled([
      schema('add', climate, written(of(150))),
      schema('add', climate, written(of(160))),
      schema('add', 'com.acme.power'),
    ])
    expect(ended.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    const told: unknown = ended.find(({ status }) => status === 'rejected')
    expect(told).toMatchObject({
      reason: { code: 'SCHEMA_FILE', message: expect.stringContaining('another tidegate schema add') },
    })
    await schema('add', climate, written(of(170)))
    await schema('add', 'com.acme.power')
    expect(await schema('check')).toMatchObject({ code: 0 })
  })

  test('a lock that is damaged, or a published file that is gone, is not written over', async () => {
    write({ [`${climate}/1.json`]: of(100), [`${climate}/2.json`]: of(150) })
    await schema('add', climate)
    const lock = read('schemas.lock')
    const refused = async (said: string): Promise<void> => {
      const before = existsSync(join(dir, 'schemas.lock')) ? read('schemas.lock') : ''
      await expect(schema('add', climate, written(of(200)))).rejects.toMatchObject({
        code: 'SCHEMA_FILE',
        message: expect.stringContaining(said),
      })
      expect(read('schemas.lock')).toBe(before)
      expect(existsSync(join(dir, climate, '3.json'))).toBe(false)
    }
    write({ 'schemas.lock': `${lock}what is this\n` })
    await refused('line 3 is not')
    write({ 'schemas.lock': `<<<<<<< ours\n${lock}=======\n>>>>>>> theirs\n` })
    await refused('take the lines of both sides')
    write({ 'schemas.lock': lock })
    rmSync(join(dir, climate, '1.json'))
    await refused('1.json: is in schemas.lock and not on the disk')
  })

  test('what a crash leaves behind is in nobody’s way', async () => {
    write({ [`${climate}/1.json`]: of(100), '.schemas.lock.new': 'half', [`${climate}/.2.json.new`]: '{' })
    expect((await schema('add', climate, written(of(150)))).code).toBe(0)
    // The version was written, and its line was not.
    write({ 'schemas.lock': read('schemas.lock').split('\n').slice(0, 1).join('\n') })
    expect((await schema('check')).text).toContain(`NOT LOCKED ${climate}/2.json`)
    expect((await schema('add', climate)).text).toContain(`added: ${climate}/2.json`)
    write({ '.schemas.lock.busy': '1' })
    await expect(schema('add', climate)).rejects.toMatchObject({
      hint: expect.stringContaining('.schemas.lock.busy'),
    })
  })

  test('what was in use before there was a lock is taken as published, once, and what comes after is judged', async () => {
    write({ [`${climate}/1.json`]: of(150), [`${climate}/2.json`]: of(120) })
    expect(await schema('add', climate)).toMatchObject({
      code: 1,
      text: expect.stringContaining('--as-published'),
    })
    expect(await schema('add', climate, '--as-published')).toMatchObject({
      code: 0,
      text: `added: ${climate}/1.json, ${climate}/2.json`,
    })
    expect(read(`${climate}/type.yaml`)).toBe('asPublished: 2\n')
    expect((await schema('check')).code).toBe(0)
    expect((await schema('add', climate, written(of(100)))).code).toBe(1)
    rmSync(join(dir, climate, 'type.yaml'))
    await expect(schema('add', climate, '--as-published')).rejects.toMatchObject({ code: 'SCHEMA_FILE' })
  })

  test('a file that is the newest version already is told, and is no version', async () => {
    await schema('add', climate, written(of(100)))
    await expect(schema('add', climate, written(of(100)))).rejects.toMatchObject({
      code: 'SCHEMA_FILE',
      message: expect.stringContaining(`the same as ${climate}/1.json`),
    })
  })

  test('what has come into the lock meanwhile stays there, and no file is written over', () => {
    write({ 'schemas.lock': `${'a'.repeat(64)}  com.acme.power/1.json\n` })
    publishInLock(dir, new Map([[`${climate}/1.json`, 'b'.repeat(64)]]))
    expect(read('schemas.lock')).toBe(
      `${'b'.repeat(64)}  ${climate}/1.json\n${'a'.repeat(64)}  com.acme.power/1.json\n`,
    )
    expect(() => publishInLock(dir, new Map([[`${climate}/1.json`, 'c'.repeat(64)]]))).toThrow(
      'another digest',
    )
    write({ [`${climate}/1.json`]: 'theirs' })
    expect(() => publishFile(join(dir, climate, '1.json'), Buffer.from('ours'))).toThrow('meanwhile')
    expect(read(`${climate}/1.json`)).toBe('theirs')
  })

  test('two types share a lock, each line of it its own', async () => {
    write({ [`${climate}/1.json`]: of(100), 'com.acme.power/1.json': {} })
    await schema('add', 'com.acme.power')
    await schema('add', climate)
    expect(read('schemas.lock').match(/com\.\S+/g)).toEqual([`${climate}/1.json`, 'com.acme.power/1.json'])
    expect((await schema('add', climate)).text).toContain('nothing to add')
  })
})

describe('tidegate schema diff and list', () => {
  test('diff shows each way, and ends with 1 if there is a difference', async () => {
    write({
      [`${climate}/1.json`]: of(100),
      [`${climate}/2.json`]: of(150),
      [`${climate}/3.json`]: { title: 'x', ...of(150) },
    })
    const { text, code } = await schema('diff', climate, '1', '2')
    expect(code).toBe(1)
    expect(text).toContain('BACKWARD: what version 1 accepts is all accepted by version 2')
    expect(text).toContain('FORWARD: what version 2 accepts is not all accepted by version 1')
    expect(text).toContain('maximum at /temperature: version 2 says 150, version 1 says 100')
    expect((await schema('diff', climate, '2', '3')).code).toBe(0)
    expect(await schema('diff', climate, '1', '7')).toMatchObject({
      code: 2,
      text: expect.stringContaining('it has 1, 2, 3'),
    })
  })

  test('list shows types, versions, modes and owners', async () => {
    write({ [`${climate}/1.json`]: of(100) })
    await schema('add', climate)
    write({ [`${climate}/2.json`]: of(150) })
    write({ [`${climate}/type.yaml`]: 'compatibility: FULL\nowner: a@b.example\nretired: [1]\n' })
    expect((await schema('list')).text).toBe(
      `${climate}  1 (retired), 2 (not in the lock)  FULL  a@b.example`,
    )
  })
})

test('the schemas of this repository are as its lock says, and understand each other', async () => {
  const folder = join(import.meta.dirname, '../../../schemas')
  const lines: string[] = []
  let isFound = false
  const program = new Command('tidegate').exitOverride()
  registerSchemaCommand(program, { say: (text) => lines.push(text), onFound: () => (isFound = true) })
  await program.parseAsync(['schema', 'check', '--folder', folder], { from: 'user' })
  expect(lines.join('\n')).toMatch(/^fine: /)
  expect(isFound).toBe(false)
})
