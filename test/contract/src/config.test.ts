import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { loadConfig } from '../../../src/config.ts'

const folder = mkdtempSync(join(tmpdir(), 'tidegate-config-'))

afterAll(() => rmSync(folder, { recursive: true, force: true }))

function file(text: string): string {
  const path = join(folder, `${Math.random()}.yaml`)
  writeFileSync(path, text)
  return path
}

describe('configuration', () => {
  const schema = z.strictObject({
    name: z.string(),
    mqtt: z
      .strictObject({ port: z.int().max(65535).default(8883), hosts: z.array(z.string()).default([]) })
      .prefault({}),
  })
  test('is defaults, then the file, then the environment', () => {
    const env = { TIDEGATE_EDGE__MQTT__PORT: '1884', TIDEGATE_EDGE__MQTT__HOSTS: '[a, b]', OTHER: 'x' }
    const config = loadConfig({
      schema,
      file: file('name: gw\nmqtt:\n  port: 1883\n'),
      prefix: 'TIDEGATE_EDGE',
      env,
    })
    expect(config).toEqual({ name: 'gw', mqtt: { port: 1884, hosts: ['a', 'b'] } })
  })

  test('reports every fault at once, by path', () => {
    expect(() =>
      loadConfig({ schema, file: file('mqtt:\n  port: 99999\n  prot: 1\n'), prefix: 'X', env: {} }),
    ).toThrow(/3 faults:[^]*name: [^]*mqtt\.port: [^]*mqtt: .*prot/)
  })

  test('says which line of a file is not YAML', () => {
    expect(() => loadConfig({ schema, file: file('name: "open\n'), prefix: 'X', env: {} })).toThrow(
      /not valid YAML/,
    )
    expect(() => loadConfig({ schema, file: join(folder, 'none.yaml'), prefix: 'X', env: {} })).toThrow(
      /cannot read/,
    )
    expect(() => loadConfig({ schema, file: file('- a list\n'), prefix: 'X', env: {} })).toThrow(
      /mapping of keys/,
    )
  })
})
