import { describe, expect, test } from 'vitest'
import { rejectedType } from '../../../src/contract/event.ts'
import { admittedReading } from '../../../cloud/deeds/admission.ts'
import { registryOf } from '../../support/fakes/schemas.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'

const noSchemas = registryOf({})

function rejectedOf(payload: string, more: object = {}) {
  const data = {
    reason: 'SCHEMA_UNKNOWN',
    topic: 't',
    payload: Buffer.from(payload).toString('base64'),
    truncated: false,
    type: 'com.acme.climate',
    ...more,
  }
  return new Ledger().next('device-1', { id: 'rejected-x', type: rejectedType, data }).event
}

const place = { gateway: 'gateway-1', epoch: 'e', sequence: 1 }
const admitted = (payload: string, more: object = {}, request: object = {}): unknown =>
  admittedReading(rejectedOf(payload, more), { ...place, ...request }, noSchemas)

const admittedOf = (authmethod: string): unknown =>
  admittedReading({ ...rejectedOf('1'), authmethod } as ReturnType<typeof rejectedOf>, place, noSchemas)

describe('what a rejected reading becomes', () => {
  test('of a CloudEvent: what it says of itself, with the device as its source', () => {
    const said = {
      specversion: '1.0',
      id: 'a',
      source: '/devices/other',
      time: '2026-02-03T04:05:06Z',
      subject: 's',
      data: 5,
    }
    expect(admitted(JSON.stringify(said))).toEqual({
      id: 'a',
      source: '/devices/device-1',
      partitionkey: 'device-1',
      type: 'com.acme.climate',
      subject: 's',
      time: '2026-02-03T04:05:06Z',
      data: 5,
    })
  })

  test('of plain data: all of it, with the ID it claimed, or one of its rejection, and the time it came', () => {
    expect(admitted('{"kpa":1}', { id: 'b' })).toMatchObject({
      id: 'b',
      time: '2026-01-01T00:00:00.000Z',
      data: { kpa: 1 },
    })
    expect(admitted('{"kpa":1}')).toMatchObject({ id: 'admitted-rejected-x' })
    expect(admitted('1', {}, { type: 'com.acme.other', time: '2026-05-05T05:05:05Z' })).toMatchObject({
      type: 'com.acme.other',
      time: '2026-05-05T05:05:05Z',
      data: 1,
    })
  })

  test('of a device that had a password: as the gateway has said, and nothing else that stands there', () => {
    expect(admittedOf('password')).toMatchObject({ authmethod: 'password' })
    expect(admittedOf('made up')).not.toHaveProperty('authmethod')
  })

  test('of a CloudEvent in another format: without the attributes that were not sent', () => {
    const decoded = { specversion: '1.0', id: null, subject: null, time: null, dataschema: null, data: 5 }
    const event = admitted('x', { format: 'avro', decoded })
    expect(event).toMatchObject({ id: 'admitted-rejected-x', data: 5, payloadformat: 'avro' })
    expect(event).not.toHaveProperty('subject')
    const zeros = { specversion: '1.0', id: '', subject: '', time: '', dataschema: '', data: 5 }
    expect(admitted('x', { format: 'protobuf', decoded: zeros })).toMatchObject({ data: 5 })
    expect(() => admitted('x', { format: 'avro', decoded: zeros })).toThrow(/its envelope is invalid: id/)
  })

  test('of another format: what the gateway has read of it, and not what its bytes would be as JSON', () => {
    // In MessagePack this byte is the number 49, and as JSON it is 1.
    const more = { format: 'messagepack', decoded: 49, skippedBytes: 3 }
    expect(admitted('1', more)).toMatchObject({
      data: 49,
      payloadformat: 'messagepack',
      payloadsha256: '6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b',
      payloadskipped: 3,
    })
    expect(admitted('{}')).not.toHaveProperty('payloadsha256')
  })

  test('of the version that it names, or else its route, or else that takes it, as at the edge; never of one that is retired', () => {
    const type = 'com.acme.climate'
    const versions = registryOf(
      { [type]: { 1: () => [], 2: () => [], 3: () => [], 4: () => ['no'] } },
      { [type]: [1] },
    )
    const schemaOf = (named: number | undefined, more: object = {}, request: object = {}) => {
      const said = {
        specversion: '1.0',
        ...(named !== undefined && { dataschema: `${type}/${named}` }),
        data: 5,
      }
      const rejected = rejectedOf(JSON.stringify(said), more)
      return admittedReading(rejected, { ...place, ...request }, versions).dataschema
    }
    expect(schemaOf(2)).toBe(`${type}/2`)
    expect(schemaOf(2, { schemaVersion: 3 })).toBe(`${type}/2`)
    expect(schemaOf(undefined, { schemaVersion: 2 })).toBe(`${type}/2`)
    expect(schemaOf(undefined, { schemaVersion: 2, type: 'com.acme.other' }, { type })).toBe(`${type}/3`)
    expect(schemaOf(undefined)).toBe(`${type}/3`)
    const refused = expect.objectContaining({ code: 'ADMISSION_REFUSED' }) as Error
    expect(() => schemaOf(1)).toThrow(refused)
    expect(() => schemaOf(undefined, { schemaVersion: 1 })).toThrow(refused)
  })

  test.each<[string, string, object, object]>([
    ['in a format that the gateway could not read', '1', { format: 'messagepack' }, {}],
    ['no JSON', '{', {}, {}],
    ['cut', '{}', { truncated: true }, {}],
    ['without a type', '{}', { type: undefined }, {}],
    ['of a type of the gateway', '{}', {}, { type: 'dev.tidegate.ledger' }],
    ['a CloudEvent without data', '{"specversion":"1.0"}', {}, {}],
    ['a CloudEvent with an ID that is none', '{"specversion":"1.0","id":"\\u0000","data":1}', {}, {}],
    ['with a time that is none', '{}', {}, { time: 'yesterday' }],
  ])('nothing, if it is %s', (_name, payload, more, request) => {
    expect(() => admitted(payload, more, request)).toThrow(
      expect.objectContaining({ code: 'ADMISSION_REFUSED' }) as Error,
    )
  })
})
