import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openReportFiles } from '../../../dev/report/files.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tidegate-report-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

test('to see whether a report can be written leaves no file, and an earlier report as it is', () => {
  openReportFiles(join(dir, 'new', 'report.json'))
  expect(readdirSync(join(dir, 'new'))).toEqual([])
  writeFileSync(join(dir, 'report.json'), 'the last one')
  openReportFiles(join(dir, 'report.json'))
  expect(readFileSync(join(dir, 'report.json'), 'utf8')).toBe('the last one')
})

test('the page lies beside the report', () => {
  openReportFiles(join(dir, 'out.json')).write('{}', '<p>')
  expect(readFileSync(join(dir, 'out.json'), 'utf8')).toBe('{}')
  expect(readFileSync(join(dir, 'out.html'), 'utf8')).toBe('<p>')
})

test('a page that cannot be written is told at once as well', () => {
  mkdirSync(join(dir, 'out.html'))
  expect(() => openReportFiles(join(dir, 'out.json'))).toThrow(
    expect.objectContaining({
      code: 'REPORT_UNWRITABLE',
      message: expect.stringContaining('out.html (EISDIR)'),
    }),
  )
  expect(existsSync(join(dir, 'out.json'))).toBe(false)
})
