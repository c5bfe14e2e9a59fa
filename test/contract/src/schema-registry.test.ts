import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { loadSchemas } from '../../../src/contract/schema-registry.ts'

const folder = mkdtempSync(join(tmpdir(), 'tidegate-schemas-'))

afterAll(() => rmSync(folder, { recursive: true, force: true }))

function schemas(files: Record<string, unknown>): string {
  const root = mkdtempSync(join(folder, 'schemas-'))
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(root, name, '..'), { recursive: true })
    writeFileSync(join(root, name), typeof content === 'string' ? content : JSON.stringify(content))
  }
  return root
}

describe('schemas', () => {
  const climate = { type: 'object', required: ['t'], properties: { t: { type: 'number', maximum: 100 } } }

  test('checks data against the version asked for and names each fault by path', () => {
    const registry = loadSchemas(
      schemas({
        'com.acme.climate/1.json': climate,
        'com.acme.climate/2.json': { ...climate, required: ['t', 'h'] },
      }),
    )
    expect(registry.latest('com.acme.climate')).toBe(2)
    expect(registry.faults('com.acme.climate', 1, { t: 20 })).toEqual([])
    expect(registry.faults('com.acme.climate', 2, { t: 200 })).toEqual([
      expect.stringContaining("'h'"),
      expect.stringContaining('data.t: '),
    ])
    expect(() => registry.faults('com.acme.climate', 3, {})).toThrow(
      expect.objectContaining({ code: 'SCHEMA_UNKNOWN' }),
    )
  })

  test('names every file that cannot be used', () => {
    const root = schemas({
      'com.acme.climate/1.json': '{',
      'com.acme.climate/v2.json': {},
      'nodots/1.json': {},
    })
    expect(() => loadSchemas(root)).toThrow(/climate\/1\.json: [^]*v2\.json: [^]*nodots: /)
  })
})
