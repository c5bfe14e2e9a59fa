import { appendFile, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { crc32c } from '../../../edge/store/leveldb/crc32c.ts'
import { unsnappy } from '../../../edge/store/leveldb/snappy.ts'
import { countDamagedBlocks, examine } from '../../../edge/store/leveldb/folder.ts'
import { blankDamagedRecords, scanLog, tornBatch } from '../../../edge/store/leveldb/log.ts'
import { checkTable } from '../../../edge/store/leveldb/tables.ts'

describe('CRC-32C', () => {
  test.each([
    ['123456789', 0xe3069283],
    ['', 0],
    ['\0'.repeat(32), 0x8a9136aa],
    ['\u00ff'.repeat(32), 0x62a8ab43],
  ])('of %j is what RFC 3720 says', (text, expected) => {
    expect(crc32c(Buffer.from(text, 'latin1'))).toBe(expected)
  })

  test('covers just the part that is asked for, at any alignment', () => {
    const bytes = Buffer.from('xx123456789y')
    expect(crc32c(bytes, 2, 11)).toBe(0xe3069283)
  })
})

describe('Snappy', () => {
  test('repeats what overlaps itself', () => {
    // Length 10, literal "ab", copy of 8 bytes from 2 back: google/snappy, format_description.txt, 2.2.
    expect(unsnappy(Buffer.from([10, 0x04, 0x61, 0x62, 0x11, 0x02]))?.toString()).toBe('ababababab')
  })

  test.each([
    ['no length', []],
    ['a literal longer than the input', [4, 0x0c, 0x61]],
    ['a copy from before the start', [4, 0x01, 0x09]],
    ['less than it promised', [9, 0x00, 0x61]],
    ['an absurd length', [0xff, 0xff, 0xff, 0xff, 0x07]],
  ])('is refused with %s', (_, bytes) => {
    expect(unsnappy(Buffer.from(bytes))).toBeUndefined()
  })
})

describe('the files of a LevelDB', () => {
  let db: string
  let log: string

  beforeEach(async () => {
    db = await mkdtemp(join(tmpdir(), 'tidegate-level-'))
    const level = new ClassicLevel(db, { writeBufferSize: 1 << 20 })
    for (let batch = 0; batch < 60; batch++) {
      const puts = Array.from({ length: 100 }, (_, index) => ({
        type: 'put' as const,
        key: `e!n!${String(batch * 100 + index).padStart(16, '0')}`,
        value: `${batch} ${index} ${'reading '.repeat(40)}`,
      }))
      await level.batch(puts, { sync: true })
    }
    await level.close()
    log = join(db, await name(/\.log$/))
  })
  afterEach(() => rm(db, { recursive: true }))

  async function name(pattern: RegExp): Promise<string> {
    return (await readdir(db)).toSorted().find((name) => pattern.test(name)) ?? ''
  }

  test('are whole as LevelDB leaves them', async () => {
    const { fault, torn, tables } = await examine(db)
    expect({ fault, torn }).toEqual({ fault: undefined, torn: undefined })
    expect(tables.length).toBeGreaterThan(0)
    expect(await countDamagedBlocks(db, tables)).toBe(0)
    expect(await scanLog(log)).toMatchObject({ tornAt: undefined, damagedAt: undefined })
  })

  test('are no less whole for a table that LevelDB had no time to finish', async () => {
    const { tables } = await examine(db)
    const half = (await readFile(join(db, String(tables[0])))).subarray(0, 1000)
    await writeFile(join(db, '999999.ldb'), half)
    expect(await examine(db)).toEqual({ fault: undefined, torn: undefined, tables })
  })

  test('tell a log that was cut short from one that is damaged inside', async () => {
    const { length } = await readFile(log)
    await truncate(log, length - 10)
    expect(await scanLog(log)).toMatchObject({ tornAt: expect.any(Number) as number, damagedAt: undefined })
    await flip(log, 100)
    expect(await scanLog(log)).toMatchObject({ damagedAt: 0 })
  })

  test('say how many operations the record may have held that is not whole', async () => {
    const { length } = await readFile(log)
    await truncate(log, length - 10)
    const { tornAt = 0 } = await scanLog(log)
    // Each batch above has a hundred puts.
    expect(await tornBatch(log, await scanLog(log))).toEqual({
      operationsMax: 100,
      firstValue: expect.any(String) as string,
    })
    const whole = await readFile(log)
    await truncate(log, tornAt + 10)
    expect(await tornBatch(log, await scanLog(log))).toMatchObject({ operationsMax: null })
    // A count that cannot be right, and one whose record may hide others.
    for (const [at, byte] of [
      [tornAt + 7 + 8 + 3, 0xff],
      [tornAt + 6, 1],
    ] as const) {
      const changed = Buffer.from(whole)
      changed[at] = byte
      await writeFile(log, changed)
      expect(await tornBatch(log, await scanLog(log))).toMatchObject({ operationsMax: null })
    }
  })

  test('tell a log that ends in garbage or in half a header as torn', async () => {
    await appendFile(log, Buffer.from([1, 2, 3]))
    expect(await scanLog(log)).toMatchObject({ tornAt: expect.any(Number) as number, damagedAt: undefined })
    await appendFile(log, Buffer.alloc(500, 7))
    expect(await scanLog(log)).toMatchObject({ tornAt: expect.any(Number) as number, damagedAt: undefined })
  })

  test('lose only the damaged record of a log, once it is fenced off', async () => {
    const records = async (): Promise<number> => {
      let count = 0
      await scanLog(log, () => (count += 1))
      return count
    }
    const before = await records()
    await flip(log, 100)
    expect(await blankDamagedRecords(log)).toBe(1)
    expect(await records()).toBe(before - 1)
  })

  test('name every block of a table that was touched, and LevelDB then reports it', async () => {
    const table = join(db, await name(/\.ldb$/))
    await flip(table, 50)
    expect(await checkTable(table, { blank: false })).toBe(1)
    await checkTable(table, { blank: true })
    const level = new ClassicLevel(db)
    await expect(level.keys().all()).rejects.toMatchObject({ code: 'LEVEL_CORRUPTION' })
    await level.close()
  })

  test('that are missing are named, before LevelDB would delete the rest', async () => {
    const table = await name(/\.ldb$/)
    await rm(join(db, table))
    expect((await examine(db)).fault).toBe(`${table} is missing`)
    await rm(join(db, 'CURRENT'))
    expect((await examine(db)).fault).toBe('CURRENT is missing')
  })
})

async function flip(file: string, at: number): Promise<void> {
  const bytes = await readFile(file)
  bytes[at] = (bytes[at] as number) ^ 1
  await writeFile(file, bytes)
}
