import { expect, test } from 'vitest'
import { UnknownSchemas } from '../../../cloud/reading/unknown-schemas.ts'
import { silentLog } from '../../../src/log.ts'

test('a version that is not known here is told once, and counted by its name as long as there are few (G7)', () => {
  const told: unknown[] = []
  const log = { ...silentLog, warn: (about: { dataschema: string }) => void told.push(about.dataschema) }
  const unknown = new UnknownSchemas(log as never)
  for (let n = 0; n < 3; n += 1) unknown.note('com.acme.climate/9')
  for (let n = 0; n < 1_000; n += 1) unknown.note(`made.up/${n}`)
  expect(unknown.counts.get('com.acme.climate/9')).toBe(3)
  expect(unknown.counts.size).toBe(101)
  expect(unknown.counts.get('other')).toBe(901)
  expect(told).toHaveLength(101)
  unknown.note('x'.repeat(1_000))
  expect(unknown.counts.get('other')).toBe(902)
})
