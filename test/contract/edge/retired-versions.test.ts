import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createAdmission } from '../../../edge/admission/admission.ts'
import { createSchemaCheck } from '../../../edge/admission/schema-check.ts'
import { refuseUnknownVersions } from '../../../edge/admission/schema-check.ts'
import { createRoutes, type Route } from '../../../edge/admission/routes/routes.ts'
import { systemClock } from '../../../src/clock.ts'
import { loadSchemas } from '../../../src/schemas/folder.ts'

const type = 'com.acme.climate'
let folder: string
const needs = (name: string) => JSON.stringify({ type: 'object', required: [name] })

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tidegate-retired-'))
  mkdirSync(join(folder, type))
  writeFileSync(join(folder, type, '1.json'), needs('temp'))
  writeFileSync(join(folder, type, '2.json'), needs('temperature'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** What becomes of a payload at a gateway with that folder: the version it is recorded as, or the reason why it is quarantined. */
function became(payload: object, route: Partial<Route> = {}): unknown {
  const schemas = loadSchemas(folder)
  const admit = createAdmission({
    checkSchema: createSchemaCheck({ schemas, unknownTypes: 'accept' }),
    types: {},
    payloadBytesMax: 1000,
    quarantineBytesMax: 1000,
    clockSkewMaxMs: 86_400_000,
    timeAgeMaxMs: 86_400_000,
    clock: systemClock,
    random: () => 0.5,
  })
  const match = createRoutes([{ topic: 't', type, ...route }]).match('d', 't')
  if (match?.action !== 'event') throw new Error('there is no route')
  const bytes = Buffer.from(JSON.stringify(payload))
  const { submission } = admit({ deviceId: 'd', topic: 't', payload: bytes, qos: 1, match })
  const event = JSON.parse(submission.candidate.text) as { dataschema?: string; data: object }
  return event.dataschema ?? event.data
}

const named = (version: number, data: object) => ({
  specversion: '1.0',
  id: 'a',
  source: 's',
  type,
  dataschema: `${type}/${version}`,
  data,
})

test('what type.yaml retires is quarantined at the gateway with that reason, whoever chose it, and was accepted before', () => {
  expect(became({ temp: 1 })).toBe(`${type}/1`)
  expect(became(named(1, { temp: 1 }))).toBe(`${type}/1`)
  writeFileSync(join(folder, type, 'type.yaml'), 'retired: [1]\n')
  expect(became(named(1, { temp: 1 }))).toMatchObject({
    reason: 'SCHEMA_RETIRED',
    detail: `${type}/1 is retired: accepted are 2`,
  })
  // The record says what its route said: whoever admits it later chooses as the gateway did.
  expect(became({ temp: 1 }, { schemaVersion: 1 })).toMatchObject({
    reason: 'SCHEMA_RETIRED',
    schemaVersion: 1,
  })
  expect(became({ temp: 1 })).toMatchObject({ reason: 'SCHEMA_VIOLATION' })
  expect(became({ temperature: 1 })).toBe(`${type}/2`)
  expect(() => refuseUnknownVersions([{ topic: 't', type, schemaVersion: 1 }], loadSchemas(folder))).toThrow(
    expect.objectContaining({ code: 'SCHEMA_FOLDER' }),
  )
})
