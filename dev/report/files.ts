import { closeSync, existsSync, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { codeOf, TidegateError } from '../../src/errors.ts'

/** Where a report goes: JSON, and beside it a page to look at. */
export interface ReportFiles {
  readonly json: string
  readonly page: string
  /** @throws TidegateError `REPORT_UNWRITABLE` */
  write(json: string, page: string): void
}

/**
 * Sees that both files can be written, for who learns it after the run has run in vain; leaves them as they are.
 * @throws TidegateError `REPORT_UNWRITABLE`
 */
export function openReportFiles(asked: string): ReportFiles {
  const json = resolve(asked)
  const page = `${json.replace(/\.json$/i, '')}.html`
  for (const file of [json, page]) orUnwritable(file, () => touch(file))
  return {
    json,
    page,
    write(jsonText, pageText) {
      orUnwritable(json, () => writeFileSync(json, jsonText))
      orUnwritable(page, () => writeFileSync(page, pageText))
    },
  }
}

function touch(file: string): void {
  mkdirSync(dirname(file), { recursive: true })
  const isNew = !existsSync(file)
  closeSync(openSync(file, 'a'))
  if (isNew) rmSync(file)
}

function orUnwritable(file: string, write: () => void): void {
  try {
    write()
  } catch (cause) {
    throw new TidegateError('REPORT_UNWRITABLE', {
      message: `cannot write the report to ${file} (${codeOf(cause)})`,
      retryable: false,
      hint: 'choose a file in a folder this user may write to',
      cause,
    })
  }
}
