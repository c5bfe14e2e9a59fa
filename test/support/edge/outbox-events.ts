import { writeCandidate, type WrittenCandidate } from '../../../src/contract/codec.ts'
import type { Submission } from '../../../edge/outbox/outbox.ts'

export function candidate(deviceId: string, id: string, data: unknown = { value: 1 }): WrittenCandidate {
  return writeCandidate({
    specversion: '1.0',
    id,
    source: `/devices/${deviceId}`,
    type: 'com.acme.climate',
    time: '2026-01-01T00:00:00.000Z',
    datacontenttype: 'application/json',
    partitionkey: deviceId,
    data,
  })
}

export function submission(deviceId: string, id: string, more: Partial<Submission> = {}): Submission {
  return { candidate: candidate(deviceId, id), lane: 'normal', qos: 1, ...more }
}
