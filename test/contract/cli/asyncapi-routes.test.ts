import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import specs from '@asyncapi/specs'
import { Ajv } from 'ajv'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  addressesOf,
  channelAt,
  type Document,
  documentWith,
  heat,
  schemasIn,
  uplink,
} from '../../support/cli/asyncapi.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidegate-asyncapi-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const schemasOf = (name: string, files: Readonly<Record<string, unknown>>): Promise<string> =>
  schemasIn(join(folder, name), files)

const documentOf = (name: string, schemas: string, lines: string): Promise<Document> =>
  documentWith(join(folder, `${name}.yaml`), schemas, lines)

test('a route that earlier ones leave nothing is on no channel, and two of one address are one', async () => {
  const schemas = await schemasOf('shadowed', {
    'com.acme.heat/1.json': heat,
    'com.acme.cold/1.json': heat,
  })
  const document = await documentOf(
    'shadowed',
    schemas,
    `schemas: { folder: SCHEMAS }
routes:
  - { topic: 'heat/{device}', type: com.acme.heat, devices: [oven-1] }
  - { topic: 'heat/{device}', type: com.acme.cold }
  - { topic: 'logs/#', action: local }
  - { topic: 'logs/{device}', type: com.acme.heat }
  - { topic: 'devices/{device}/events/com.acme.heat', action: ignore }
${uplink}`,
  )
  const addresses = addressesOf(document)
  expect(addresses).not.toContain('logs/{device}')
  expect(addresses.filter((address, index) => addresses.indexOf(address) !== index)).toEqual([])
  const both = channelAt(document, 'heat/{device}')
  expect(both?.['x-tidegate-routes']?.map(({ type }) => type)).toEqual(['com.acme.heat', 'com.acme.cold'])
  expect(both?.description).toContain('From oven-1 alone.')
  expect(Object.keys(channelAt(document, 'devices/{device}/events/com.acme.heat')?.messages ?? {})).toEqual([
    'anything',
  ])
})

test('only publishes of events are recommended at QoS 1, and promised anything', async () => {
  const schemas = await schemasOf('bound', { 'com.acme.heat/1.json': heat })
  const { operations } = await documentOf(
    'bound',
    schemas,
    `schemas: { folder: SCHEMAS, unknownTypes: reject }
routes: [{ topic: 'logs/#', action: local }, { topic: 'noise/#', action: ignore }]
profiles: { meters: { devices: ['meter-*'], types: [com.acme.meter] } }
${uplink}`,
  )
  const received = Object.entries(operations).filter(([key]) => key.startsWith('receive.'))
  expect(received.map(([key, { bindings }]) => [key, bindings])).toEqual([
    ['receive.mqtt.logs', undefined],
    ['receive.mqtt.noise', undefined],
    ['receive.mqtt.devices-device-events-com.acme.heat', { mqtt: { qos: 1, bindingVersion: '0.2.0' } }],
    ['receive.mqtt.devices-device', undefined],
  ])
  for (const [, { description, bindings }] of received)
    expect(description === undefined).toBe(bindings === undefined)
})

test('what a profile forbids is said, and not shown', async () => {
  const schemas = await schemasOf('profiles', { 'com.acme.heat/1.json': heat })
  const document = await documentOf(
    'profiles',
    schemas,
    `schemas: { folder: SCHEMAS, unknownTypes: reject }
profiles: { default: { types: [com.acme.meter] } }
${uplink}`,
  )
  const heated = channelAt(document, 'devices/{device}/events/com.acme.heat')
  expect(heated?.description).toContain('TYPE_FORBIDDEN')
  // What is shown there would be rejected.
  expect(document.components.messages['com.acme.heat.v1.data']?.examples).toBeUndefined()
  expect(document.components.messages['com.acme.heat.v1']?.examples).toBeUndefined()
})

test('what is rejected for its type is on no channel of what is no event, and no operation takes it', async () => {
  const schemas = await schemasOf('refused', { 'com.acme.heat/1.json': heat })
  const document = await documentOf(
    'refused',
    schemas,
    `schemas: { folder: SCHEMAS, unknownTypes: reject }
routes: [{ topic: 'door/{device}', type: com.acme.door }, { topic: 'door/#', action: local }]
${uplink}`,
  )
  const addresses = addressesOf(document)
  for (const [address, later, ...codes] of [
    ['door/{device}', 'door/{rest}', 'SCHEMA_UNKNOWN'],
    ['devices/{device}/events/{type}', 'devices/{device}/{rest}', 'SCHEMA_UNKNOWN', 'TYPE_INVALID'],
  ] as const) {
    expect(addresses.indexOf(address)).toBeLessThan(addresses.indexOf(later))
    const { description, messages } = channelAt(document, address) ?? {}
    for (const code of codes) expect(description).toContain(code)
    expect(messages).toEqual({})
    const key = Object.keys(document.channels)[addresses.indexOf(address)] ?? ''
    expect(document.operations).not.toHaveProperty([`receive.${key}`])
  }
  // Of types without a schema nothing is on the exchange either.
  expect(addresses).not.toContain('{partition}.{type}')
})

test('which version a reading is of is said as the gateway decides it', async () => {
  const schemas = await schemasOf('versions', {
    'com.acme.heat/1.json': { required: ['old'], properties: { old: { type: 'number' } } },
    'com.acme.heat/2.json': { required: ['temp'], properties: { temp: { type: 'number' } } },
    'com.acme.heat/3.json': { required: ['celsius'], properties: { celsius: { type: 'number' } } },
  })
  await writeFile(join(schemas, 'com.acme.heat/type.yaml'), 'retired: [1]\n')
  const document = await documentOf(
    'versions',
    schemas,
    `schemas: { folder: SCHEMAS }
routes: [{ topic: 'v2/{device}', type: com.acme.heat, schemaVersion: 2 }]
${uplink}`,
  )
  const { messages } = document.components
  const keysAt = (address: string): string[] => Object.keys(channelAt(document, address)?.messages ?? {})
  expect(keysAt('devices/{device}/events/com.acme.heat')).toEqual([
    'com.acme.heat.v2.data.2',
    'com.acme.heat.v3.data',
    'com.acme.heat.v2.cloudevent',
    'com.acme.heat.v3.cloudevent',
    'com.acme.heat.cloudevent.2',
  ])
  expect(keysAt('v2/{device}')).toEqual([
    'com.acme.heat.v2.data',
    'com.acme.heat.v2.cloudevent',
    'com.acme.heat.v3.cloudevent',
    'com.acme.heat.cloudevent',
  ])
  expect(messages['com.acme.heat.cloudevent']?.summary).toContain('version 2, by its route')
  expect(messages['com.acme.heat.v2.cloudevent']?.payload.schema.allOf[1]).toMatchObject({
    properties: { dataschema: { const: 'com.acme.heat/2' } },
    required: ['dataschema'],
  })
  // On the exchange every event of it names its version; also one that is retired now.
  for (const key of ['com.acme.heat.v1', 'com.acme.heat.v3'])
    expect(messages[key]?.payload.schema.allOf[1]).toMatchObject({ required: ['dataschema'] })
})

test('an ID and a time are put into examples only where they are missing, each ID once', async () => {
  const examples = [{ id: 'a' }, { celsius: 1 }, { celsius: 2 }]
  const schemas = await schemasOf('ids', { 'com.acme.heat/1.json': { ...heat, examples } })
  const document = await documentOf(
    'ids',
    schemas,
    `schemas: { folder: SCHEMAS }
routes: [{ topic: 'heat/{device}', type: com.acme.heat, idFrom: id }]
${uplink}`,
  )
  const shown = document.components.messages['com.acme.heat.v1.data']?.examples
  expect(shown?.map(({ payload }) => payload)).toEqual([
    { id: 'a' },
    { celsius: 1, id: 'example-2' },
    { celsius: 2, id: 'example-3' },
  ])
})

test('what a route takes in another format has the content type and the schema of that', async () => {
  const schemas = await schemasOf('formats', { 'com.acme.heat/1.json': heat })
  const avro = { type: 'record', name: 'Heat', fields: [{ name: 'celsius', type: 'double' }] }
  await writeFile(join(folder, 'heat.avsc'), JSON.stringify(avro))
  const proto = 'syntax = "proto3";\nmessage Heat { double celsius = 1; }\n'
  await writeFile(join(folder, 'heat.proto'), proto)
  const document = await documentOf(
    'formats',
    schemas,
    `schemas: { folder: SCHEMAS }
routes:
  - { topic: 'a/{device}', type: com.acme.heat, format: avro, schema: heat.avsc }
  - { topic: 'p/{device}', type: com.acme.heat, format: protobuf, schema: heat.proto, message: Heat }
  - { topic: 'c/{device}', type: com.acme.heat, format: cbor }
  - { topic: 'm/{device}', type: com.acme.heat, format: messagepack }
${uplink}`,
  )
  const { messages } = document.components
  const of = (format: string): unknown[] => {
    const { contentType, payload } = messages[`com.acme.heat.${format}`] ?? {}
    return [contentType, payload]
  }
  expect(of('avro')).toEqual([
    'application/vnd.apache.avro',
    { schemaFormat: 'application/vnd.apache.avro+json;version=1.9.0', schema: avro },
  ])
  expect(of('protobuf')).toEqual([
    'application/protobuf',
    { schemaFormat: 'application/vnd.google.protobuf;version=3', schema: proto },
  ])
  expect(of('cbor')).toEqual(['application/cbor', undefined])
  expect(of('messagepack')).toEqual(['application/vnd.msgpack', undefined])
  expect(messages['com.acme.heat.cbor']?.summary).toContain('com.acme.heat/1')
  expect(Object.keys(channelAt(document, 'c/{device}')?.messages ?? {})).toEqual(['com.acme.heat.cbor'])
  // No folder of the machine that it was made on.
  expect(JSON.stringify(document)).not.toContain(folder)
  const ajv = new Ajv({ strict: false, meta: false, validateSchema: false, validateFormats: false })
  const validate = ajv.compile(specs.schemas['3.0.0'] as object)
  expect([validate(document), validate.errors]).toEqual([true, null])
  await expect(
    documentOf(
      'broken',
      schemas,
      `routes: [{ topic: a, type: com.acme.heat, format: avro, schema: none }]\n${uplink}`,
    ),
  ).rejects.toMatchObject({ code: 'PAYLOAD_SCHEMA' })
})

test('what goes over RabbitMQ is as the uplink is set', async () => {
  const schemas = await schemasOf('uplink', { 'com.acme.heat/1.json': heat })
  const document = await documentOf(
    'uplink',
    schemas,
    `schemas: { folder: SCHEMAS }
uplink: { url: 'amqps://gateway-7:x@rabbit.acme.example/iot', exchange: acme.events, batch: { eventsMax: 1 } }`,
  )
  expect(document.servers['rabbitmq']?.pathname).toBe('/iot')
  expect(Object.keys(channelAt(document, '{partition}.com.acme.heat')?.messages ?? {})).toEqual([
    'com.acme.heat.v1',
  ])
  expect(channelAt(document, 'tidegate.unroutable')?.description).toContain('acme.events')
  expect(channelAt(document, 'tidegate.lists.{gateway}')?.['x-tidegate-arguments']).toMatchObject({
    'x-overflow': 'drop-head',
  })
  const partition = channelAt(document, '{group}.{partition}.v2') as Record<string, object> | undefined
  expect(partition?.['x-tidegate-arguments']).not.toHaveProperty('x-single-active-consumer')
  expect(partition?.['x-tidegate-arguments-ordered']).toHaveProperty('x-single-active-consumer', true)
  expect(document.components.messages['event']?.headers?.properties).toHaveProperty('tidegate-publisher')
})
