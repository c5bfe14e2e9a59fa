import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { renderFinding } from '../../../edge/outbox-tool/finding-text.ts'
import { openQueue } from '../../../edge/outbox-tool/open-queue.ts'
import type { FindAsked, Finding } from '../../../edge/outbox/look/finding.ts'
import { createScratch } from '../../../edge/store/leveldb/scratch.ts'
import { levelFolder } from '../../../edge/store/store-level.ts'
import { writeCandidate } from '../../../src/contract/codec.ts'
import { systemClock as clock } from '../../../src/clock.ts'
import { submission } from '../../support/edge/outbox-events.ts'
import { openTestOutbox } from '../../support/edge/test-outbox.ts'

let dataDir: string
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'tidegate-find-'))
})
afterEach(() => rm(dataDir, { recursive: true, force: true }))

const open = () =>
  openTestOutbox({ folder: levelFolder({ folder: join(dataDir, 'outbox'), reserveBytes: 0, clock }), clock })

async function find(asked: FindAsked): Promise<Finding> {
  const queue = await openQueue({ dataDir, clock, scratch: createScratch(), thorough: false })
  try {
    return await queue.find(asked)
  } finally {
    await queue.close()
  }
}

describe('tidegate outbox find', () => {
  test('says of an event whether it is queued, was here and has left, or never came; the second only of a device that is named', async () => {
    const outbox = await open()
    await outbox.append(submission('d1', 'e1'))
    await outbox.append(submission('d1', 'e2'))
    const [first] = await outbox.take(1)
    if (first === undefined) throw new Error('nothing to take')
    await outbox.release([first])
    await outbox.close()

    expect(await find({ id: 'e2' })).toMatchObject({
      queued: [{ deviceId: 'd1', sequence: 2 }],
      lastSequence: 2,
    })
    expect((await find({ id: 'e1' })).queued).toEqual([])
    expect(await find({ id: 'e1' })).not.toHaveProperty('remembered')
    expect(await find({ id: 'e1', deviceId: 'd1' })).toMatchObject({ queued: [], remembered: true })
    const never = await find({ id: 'e1', deviceId: 'd2' })
    expect(never).toMatchObject({ queued: [], remembered: false })
    expect(renderFinding('e1', 'd2', never)).toContain('whether it was rejected here cannot be known')
    expect(renderFinding('e1', undefined, await find({ id: 'e1' }))).toContain('name --device')
  })

  test('finds a reading that was rejected by the ID that its device gave it', async () => {
    const outbox = await open()
    const rejection = {
      reason: 'SCHEMA_VIOLATION',
      detail: '',
      topic: '',
      id: 'own',
      payloadBytes: 2,
      payload: 'eA==',
      truncated: false,
    }
    await outbox.append({
      candidate: writeCandidate({
        specversion: '1.0',
        id: 'numbered',
        source: '/devices/d1',
        type: 'dev.tidegate.rejected',
        time: '2026-01-01T00:00:00.000Z',
        datacontenttype: 'application/json',
        partitionkey: 'd1',
        data: rejection,
      }),
      lane: 'normal',
      qos: 1,
    })
    await outbox.close()
    const finding = await find({ id: 'own' })
    expect(finding.queued).toMatchObject([{ deviceId: 'd1', rejected: 'SCHEMA_VIOLATION' }])
    expect(renderFinding('own', undefined, finding)).toContain('rejected: SCHEMA_VIOLATION')
  })
})
