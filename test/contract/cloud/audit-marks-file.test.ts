import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { spawnSync } from 'node:child_process'
import { afterAll, describe, expect, test } from 'vitest'
import { lockMarks } from '../../../cloud/audit/marks/lock.ts'
import { makeMarksKey, readMarks, readMarksKey, writeMarks } from '../../../cloud/audit/marks/marks-file.ts'
import type { Mark } from '../../../cloud/audit/marks/marks.ts'
import { checkOptions } from '../../../cloud/audit/marks/options.ts'

const folder = mkdtempSync(join(tmpdir(), 'tidegate-marks-file-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const at = '2026-01-01T00:00:00.000Z'

function markOf(gateway: string): Mark {
  return {
    gateway,
    epoch: 'E',
    at,
    horizon: { era: 1, since: '0', tx: '1' },
    vouched: 'v',
    retired: '',
    head: { sequence: 3, chain: null },
    states: [],
  }
}

async function keyIn(name: string): Promise<{ file: string; key: Awaited<ReturnType<typeof readMarksKey>> }> {
  const file = join(folder, name)
  await makeMarksKey(`${file}.key`)
  return { file, key: await readMarksKey(`${file}.key`) }
}

describe('the file of marks', () => {
  test('gives back what was written, one mark a line, and nothing that was altered, left out or added (G8)', async () => {
    const { file, key } = await keyIn('lines')
    const { privateKey } = key
    if (privateKey === undefined) throw new Error('no private key')
    const marks = ['a', 'b\u2028c', 'd\re', 'f'].map(markOf)
    await writeMarks(file, marks, { privateKey, at })
    expect(await readMarks(file, key, { mayBegin: false })).toEqual(marks)
    const lines = readFileSync(file, 'utf8').split('\n')
    expect(lines).toHaveLength(1 + marks.length + 1 + 1)
    const alterations = [
      lines.toSpliced(2, 1),
      lines.toSpliced(2, 0, String(lines[1])),
      lines.toSpliced(1, 1, String(lines[1]).replace('"sequence":3', '"sequence":2')),
      lines.slice(0, 3),
      [...lines, String(lines[1])],
    ]
    for (const altered of alterations) {
      writeFileSync(file, altered.join('\n'))
      await expect(readMarks(file, key, { mayBegin: true })).rejects.toMatchObject({ code: 'MARKS_FILE' })
    }
  })

  test('is whole, whoever writes it at once, and what cannot be written leaves nothing behind', async () => {
    const { file, key } = await keyIn('race')
    const { privateKey } = key
    if (privateKey === undefined) throw new Error('no private key')
    const sets = [1000, 2000, 3000].map((count) => Array.from({ length: count }, (_, n) => markOf(`g${n}`)))
    await Promise.all(sets.map((marks) => writeMarks(file, marks, { privateKey, at })))
    expect([1000, 2000, 3000]).toContain((await readMarks(file, key, { mayBegin: false })).length)
    const nowhere = writeMarks(join(folder, 'none', 'marks'), [], { privateKey, at })
    await expect(nowhere).rejects.toMatchObject({ code: 'MARKS_FILE' })
    expect(readdirSync(folder).filter((name) => name.endsWith('.part'))).toEqual([])
  })

  test('is held by one audit at a time, and what a crash has left of one is taken over', async () => {
    const file = join(folder, 'locked')
    const lock = await lockMarks(file)
    await expect(lockMarks(file)).rejects.toMatchObject({ code: 'MARKS_LOCKED', retryable: true })
    await lock.confirm()
    await lock.release()
    await lock.release()
    const { pid } = spawnSync(process.execPath, ['-e', ''])
    writeFileSync(`${file}.lock`, `${pid} ${hostname()} 1\n`)
    const next = await lockMarks(file)
    writeFileSync(`${file}.lock`, `${pid} elsewhere 1\n`)
    await expect(next.confirm()).rejects.toMatchObject({ code: 'MARKS_LOCKED' })
    await next.release()
    await expect(lockMarks(file)).rejects.toThrow('elsewhere')
  })

  test('has a key of two halves, or none', async () => {
    const file = join(folder, 'half')
    writeFileSync(`${file}.pub`, 'somebody’s')
    await expect(makeMarksKey(file)).rejects.toMatchObject({ code: 'MARKS_KEY' })
    expect(existsSync(file)).toBe(false)
    expect(readFileSync(`${file}.pub`, 'utf8')).toBe('somebody’s')
  })
})

test('an option of the audit that would not be looked at is refused', () => {
  const head = { gateway: 'gateway-1', epoch: 'E', sequence: 1, chain: 'c' }
  const refused = [
    () => checkOptions({ duplicates: true, expect: [head] }, [head]),
    () => checkOptions({ duplicates: true, gateway: 'gateway-1' }, []),
    () => checkOptions({ gateway: 'gateway-2' }, [head]),
    () => checkOptions({ forget: ['gateway-1/E'] }, []),
    () => checkOptions({ marks: 'marks' }, []),
  ]
  for (const check of refused) expect(check).toThrow(expect.objectContaining({ code: 'OPTIONS_INVALID' }))
  checkOptions({ gateway: 'gateway-1', marks: 'marks', key: 'key' }, [head])
})
