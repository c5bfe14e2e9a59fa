import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { loadConfig } from '../../../src/settings/config.ts'

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
    ).toThrow(/3 faults:[^]*name: [^]*mqtt\.port: [^]*mqtt\.prot: /)
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

  test('says of each fault what is wanted, what is there, what was probably meant, and on which line', () => {
    const text = 'name: 7\nmqtt:\n  prot: 1\n  hosts: all\n  host: [a]\nnmae: gw\n'
    expect(faultsOf(text)).toEqual([
      'name: must be text, and is 7 (line 1)',
      'mqtt.hosts: must be a list, and is "all" (line 4)',
      'mqtt.prot: is no key here; did you mean port? (line 3)',
      'mqtt.host: is no key here; did you mean hosts? (line 5)',
      'nmae: is no key here; did you mean name? (line 6)',
    ])
    expect(faultsOf('name: gw\ncolour: red\n')).toEqual([
      'colour: is no key here; there are name, mqtt (line 2)',
    ])
  })

  test('shows no value that may hold a password', () => {
    const [fault] = faultsOf('name: gw\nmqtt: amqp://user:secret@host\n')
    expect(fault).toBe('mqtt: must be a mapping of keys, and is another text (line 2)')
  })

  test.each([
    ['TIDEGATE_EDGE_MQTT__PORT', 'TIDEGATE_EDGE__MQTT__PORT'],
    ['TIDEGATE_EDGE__MQTT_PORT', 'mqttPort'],
    ['TIDEGATE_EDGE__MQTT__PROT', 'did you mean port?'],
    ['TIDEGATE_EGDE__MQTT__PORT', 'TIDEGATE_EDGE__MQTT__PORT'],
    ['TIDEGATE__EDGE__MQTT__PORT', 'TIDEGATE_EDGE__MQTT__PORT'],
    ['tidegate_edge__mqtt__port', 'TIDEGATE_EDGE__MQTT__PORT'],
    ['TIDEGATE_EDGE__NONSENSE', 'nonsense: is no key here'],
  ])('a variable that names nothing is a fault, never ignored: %s', (name, meant) => {
    const faults = faultsOf('name: gw\n', { [name]: '1884' })
    expect(faults).toEqual([expect.stringContaining(name) as string])
    expect(faults.join()).toContain(meant)
  })

  test('what belongs to somebody else is left alone', () => {
    const others = {
      TIDEGATE_CLOUD__BATCH__MAX: '7',
      TIDEGATE_DEBUG: '1',
      TIDEGATE_AMQP_URL: 'amqp://x',
      // Kubernetes, beside a service named tidegate-edge.
      TIDEGATE_EDGE_SERVICE_HOST: '10.0.0.1',
      TIDEGATE_EDGE_SERVICE_PORT_MQTT: '8883',
      TIDEGATE_EDGE_PORT: 'tcp://10.0.0.1:8883',
      TIDEGATE_EDGE_PORT_8883_TCP_ADDR: '10.0.0.1',
    }
    expect(faultsOf('name: gw\n', others)).toEqual([])
  })

  test('a value in the environment that is no YAML is told, and a text with a # is kept whole', () => {
    expect(faultsOf('name: gw\n', { TIDEGATE_EDGE__MQTT__HOSTS: '[a, b' })).toEqual([
      expect.stringMatching(/^TIDEGATE_EDGE__MQTT__HOSTS: its value is not valid YAML: .*quotes$/) as string,
    ])
    const env = { TIDEGATE_EDGE__NAME: 'pass #1' }
    expect(loadConfig({ schema, prefix: 'TIDEGATE_EDGE', env }).name).toBe('pass #1')
  })

  test.each([
    ['an alias of nothing', 'name: *nobody\n'],
    [
      'aliases without end',
      `a: &a [${'x,'.repeat(10)}]\nb: &b [${'*a,'.repeat(10)}]\nc: [${'*b,'.repeat(20)}]\n`,
    ],
    ['lists in lists', `name: ${'['.repeat(5000)}\n`],
    ['too much', `name: ${'x'.repeat(2 ** 20)}\n`],
  ])('a file that cannot be read is named, whatever is wrong with it: %s', (_, text) => {
    expect(() => loadConfig({ schema, file: file(text), prefix: 'X', env: {} })).toThrow(
      expect.objectContaining({
        code: 'CONFIG_UNREADABLE',
        message: expect.stringMatching(/^\S*tidegate-config-\S+\.yaml is /) as string,
      }),
    )
  })

  function faultsOf(text: string, env: Record<string, string> = {}): string[] {
    try {
      loadConfig({ schema, file: file(text), prefix: 'TIDEGATE_EDGE', env })
      return []
    } catch (error) {
      return (error as Error).message
        .split('\n')
        .slice(1)
        .map((line) => line.trim())
    }
  }
})
