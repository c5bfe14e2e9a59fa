import { describe, expect, test } from 'vitest'
import { type AdmissionOptions, createAdmission } from '../../../edge/admission/admission.ts'
import { createSchemaCheck } from '../../../edge/admission/schema-check.ts'
import { createProfiles, type Profile } from '../../../edge/admission/profiles.ts'
import { createRoutes, type Route } from '../../../edge/admission/routes/routes.ts'
import { systemClock } from '../../../src/clock.ts'
import type { Rejection } from '../../../src/contract/event.ts'
import { climateSchemas } from '../../support/fakes/schemas.ts'

describe('the profile of a device', () => {
  const profiles: Record<string, Profile> = {
    default: {},
    all: { devices: ['m-*'] },
    floor: { devices: ['m-2-*', 'x'] },
    one: { devices: ['m-2-7'] },
  }

  test.each([
    ['m-2-7', 'one'],
    ['m-2-8', 'floor'],
    ['m-1', 'all'],
    ['x', 'floor'],
    ['xx', 'default'],
  ])('goes by its ID, else by the longest beginning of it, whatever the order (%s: %s)', (device, name) => {
    expect(createProfiles(profiles)(device)?.name).toBe(name)
    const reversed = Object.fromEntries(Object.entries(profiles).toReversed())
    expect(createProfiles(reversed)(device)?.name).toBe(name)
  })

  test('is none where no profile speaks of it', () => {
    expect(createProfiles({})('m-1')).toBeUndefined()
    expect(createProfiles({ floor: { devices: ['m-2-*'] } })('m-1')).toBeUndefined()
  })
})

interface Seen {
  lane: string
  lowered: string | undefined
  reason: string | undefined
  type: string
  data: unknown
  id: string
}

function sending(options: Partial<AdmissionOptions>, routes: Route[] = []) {
  const admit = createAdmission({
    checkSchema: createSchemaCheck({ schemas: climateSchemas, unknownTypes: 'accept' }),
    types: { 'com.acme.alarm': { lane: 'high' } },
    payloadBytesMax: 1000,
    quarantineBytesMax: 100,
    clockSkewMaxMs: 86_400_000,
    timeAgeMaxMs: 366 * 86_400_000,
    clock: systemClock,
    random: () => 0.5,
    ...options,
  })
  const all = createRoutes(routes)
  return (deviceId: string, type: string, topic = `devices/${deviceId}/events/${type}`): Seen => {
    const match = all.match(deviceId, topic)
    if (match?.action !== 'event') throw new Error(`no route for ${topic}`)
    const payload = Buffer.from(JSON.stringify({ specversion: '1.0', id: 'r1', data: { temperature: 1 } }))
    const { submission, rejected, lowered } = admit({ deviceId, topic, payload, qos: 1, match })
    const { candidate, lane } = submission
    const { data, id } = JSON.parse(candidate.text) as { data: unknown; id: string }
    return { lane, lowered, reason: rejected?.reason, type: candidate.type, data, id }
  }
}

describe('a profile', () => {
  const profiles: Record<string, Profile> = {
    panels: { devices: ['p-*'], types: ['com.acme.alarm', 'com.acme.state.*'] },
    meters: { devices: ['m1'], lanes: ['normal'] },
  }
  const send = sending({ profiles })

  test('that does not allow a type has its readings quarantined, each once, with what is wrong (G2)', () => {
    const first = send('p-1', 'com.acme.climate')
    expect(first).toMatchObject({
      reason: 'TYPE_FORBIDDEN',
      lane: 'normal',
      type: 'dev.tidegate.rejected',
    })
    const { reason, detail, type, payload } = first.data as Rejection
    expect({ reason, type }).toEqual({ reason: 'TYPE_FORBIDDEN', type: 'com.acme.climate' })
    expect(detail).toBe('the profile panels, which this device is in, does not allow com.acme.climate')
    expect(Buffer.from(payload, 'base64').toString()).toContain('"temperature":1')
    expect(send('p-1', 'com.acme.climate').id).toBe(first.id)
  })

  test('lets what it allows pass, and says nothing of the devices of others', () => {
    expect(send('p-1', 'com.acme.alarm')).toMatchObject({ reason: undefined, lane: 'high' })
    expect(send('p-1', 'com.acme.state.door')).toMatchObject({ reason: undefined, lane: 'normal' })
    expect(send('p-1', 'com.acme.statement').reason).toBe('TYPE_FORBIDDEN')
    expect(send('m1', 'com.acme.climate').reason).toBeUndefined()
    expect(send('other', 'com.acme.alarm')).toMatchObject({ reason: undefined, lane: 'high' })
  })

  test('without the high lane has its events go in the normal one, and nothing is lost (G7)', () => {
    expect(send('m1', 'com.acme.alarm')).toMatchObject({
      reason: undefined,
      lane: 'normal',
      lowered: 'profile',
      type: 'com.acme.alarm',
    })
    expect(send('m1', 'com.acme.climate')).toMatchObject({ lane: 'normal', lowered: undefined })
  })

  test('without the high lane has it where a route names the devices that it is for', () => {
    const topic = 'alarms/{device}'
    const named: Route = { topic, type: 'com.acme.alarm', lane: 'high', devices: ['m1'] }
    expect(sending({ profiles }, [named])('m1', '', 'alarms/m1').lane).toBe('high')
    const { devices: _devices, ...open } = named
    expect(sending({ profiles }, [open])('m1', '', 'alarms/m1')).toMatchObject({
      lane: 'normal',
      lowered: 'profile',
    })
  })
})
