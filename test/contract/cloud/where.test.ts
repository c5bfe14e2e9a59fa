import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase as poolOf, type Database } from '../../../cloud/database/database-postgres.ts'
import { readWhere } from '../../../cloud/api/reads/where-is-postgres.ts'
import {
  eventsSql,
  gatewaysSql,
  groupsSql,
  lettersSql,
  notesSql,
  parkedSql,
} from '../../../cloud/api/reads/where-is-sql.ts'
import type { WhereAnswer } from '../../../cloud/api/rules/where-shapes.ts'
import { explained } from '../../support/cloud/history-explained.ts'
import { letterKey } from '../../../cloud/letters/key.ts'
import { allReadable, fillWeeks } from '../../support/cloud/history-filled.ts'
import { command } from '../../support/cloud/audited-database.ts'
import { processedSql } from '../../support/cloud/inbox-claims.ts'
import { canary, canaryIn } from '../../support/cloud/seeded-failures.ts'
import { type ServedApi, serveApi } from '../../support/cloud/served-api.ts'

let served: ServedApi
let owner: Database
beforeAll(async () => {
  served = await serveApi()
  owner = poolOf({ url: served.databaseUrl, poolMax: 4, applicationName: 'test' })
  await fillWeeks(owner, { events: 60_000, weeks: 57 })
  await owner.query(storySql)
  await allReadable(owner)
})
afterAll(async () => {
  await owner.close()
  await served.close()
})

const deed = '00000000-0000-4000-8000-000000000001'
const source = '/devices/sensor-010'

const keyOf = (id: string): string =>
  letterKey({ propertyBlock: Buffer.alloc(0), text: Buffer.alloc(0) }, { source, id }).toString('hex')

/** The first of a device in siren, and one behind it. */
const parkedStorySql = `
insert into tidegate.parked_devices (consumer_group, device, state, attempt, next_at, code, message) values
  ('siren', 'sensor-010', 'retrying', 2, '2026-11-26T09:20:00Z', 'SITE_UNKNOWN', '${canary}');
insert into tidegate.parked_events (consumer_group, device, key, body, properties, headers, routing_key, queue, arrived_at)
  select 'siren', 'sensor-010', decode(key, 'hex'), '${canary}', '{}', '{}', '', '', '2026-11-26T09:16:00Z'
  from unnest(array['${keyOf('climate-1')}', '${keyOf('climate-7')}']) as key`

/** One event that alerts could not process, twice; one that was rejected and admitted; one that came again. */
const storySql = `
insert into tidegate.projection_versions (name, version, definition, types, state, cursor) values
  ('energy', 1, 'x', '{com.acme.climate}', 'live', '2000000000.1.1'), ('energy', 2, 'x', null, 'building', ''),
  ('power', 1, 'x', '{com.acme.power}', 'live', '2000000000.1.1');
insert into tidegate.projections (name, active) values ('energy', 1), ('power', 1);
insert into tidegate.events (gateway, epoch, sequence, source, id, type, time, recorded_time, disposition, reason, body) values
  ('gateway-2', 'E2', 1, '${source}', 'climate-1', 'com.acme.climate', '2026-11-26T09:14:02.113Z', '2026-11-26T09:14:02.401Z', 'accepted', null,
   '{"id":"climate-1","data":"${canary}"}'),
  ('gateway-2', 'E2', 2, '${source}', 'gateway-2/E2/2', 'dev.tidegate.rejected', '2026-11-26T09:15:00Z', '2026-11-26T09:15:00Z', 'rejected',
   'REJECTED_AT_EDGE: SCHEMA_VIOLATION: ${canary}', '{"id":"gateway-2/E2/2","data":{"id":"climate-2","detail":"${canary}"}}'),
  ('gateway-2', 'E2', 3, '${source}', 'gateway-2/E2/3', 'dev.tidegate.rejected', '2026-11-26T09:15:00Z', '2026-11-26T09:15:00Z', 'rejected',
   'REJECTED_AT_EDGE: NOT_JSON', '{"id":"gateway-2/E2/3","data":{"id":"\\u0000"}}'),
  ('gateway-2', 'E2', 7, '${source}', 'climate-7', 'com.acme.climate', now(), now(), 'accepted', null, '{"id":"climate-7"}');
${processedSql('rollups', source, 'climate-1')};
${processedSql('other', source, 'climate-7')};
${processedSql('siren', source, 'climate-1')};
${processedSql('siren', source, 'climate-7')};
${parkedStorySql};
insert into tidegate.failure_groups (fingerprint, consumer_group, code, message, first_seen, last_seen)
  values ('8f3a21c07b6e4d19', 'alerts', 'SITE_UNKNOWN', '${canary}', now(), now());
insert into tidegate.dead_letters (consumer_group, key, source, id, type, device, body, properties, headers, routing_key, queue, fingerprint,
  code, message, attempts, failures, instance, first_failed_at, last_failed_at)
  values ('alerts', 'x', '${source}', 'climate-1', 'com.acme.climate', 'sensor-010', '${canary}', '{}', '{}', '', '', '8f3a21c07b6e4d19',
   'SITE_UNKNOWN', '${canary}', 3, '[]', 'cloud-1', now(), now());
insert into tidegate.resolutions (letter, consumer_group, source, id, outcome, edited)
  values (1, 'alerts', '${source}', 'climate-1', 'resolved', false);
insert into tidegate.admissions (gateway, epoch, sequence, admitted_epoch, admitted_sequence, deed) values ('gateway-2', 'E2', 2, 'C1', 5, '${deed}');
insert into tidegate.ledger_notes (gateway, epoch, from_sequence, to_sequence, reason, event_sequence, body) values
  ('gateway-2', 'E2', 5, 5, 'duplicate', 5, '{"id":"climate-1","source":"${source}","data":"${canary}"}'),
  ('gateway-2', 'E2', 6, 6, 'expired', 7, null)`

async function where(path: string, token: string): Promise<WhereAnswer> {
  const answer = await served.get(`/v1/where?${path}`, token)
  expect(answer.status).toBe(200)
  return (await answer.json()) as WhereAnswer
}

describe('where an event is', () => {
  test('every hop with its time, and what became of it in each group; for a viewer without a byte of what the device sent', async () => {
    const token = await served.tokenOf('viewer')
    const answer = await where(`id=climate-1&source=${source}`, token)
    expect(answer).toMatchObject({
      found: [
        {
          source,
          places: [
            {
              gateway: 'gateway-2',
              epoch: 'E2',
              sequence: 1,
              time: '2026-11-26T09:14:02.113Z',
              admittedAt: '2026-11-26T09:14:02.401Z',
              disposition: 'accepted',
              readable: true,
              claimed: false,
              projections: [
                { name: 'energy', version: 1, active: true, standing: 'included' },
                { name: 'energy', version: 2, active: false, standing: 'not yet' },
              ],
            },
          ],
          processed: [{ group: 'rollups' }],
          parked: [{ group: 'siren', state: 'retrying', first: true, attempt: 2, code: 'SITE_UNKNOWN' }],
          letters: [{ letter: 1, group: 'alerts', state: 'open', code: 'SITE_UNKNOWN', attempts: 3 }],
          resolutions: [{ group: 'alerts', outcome: 'resolved' }],
          notes: [{ sequence: 5, reason: 'duplicate' }],
        },
      ],
      more: false,
      gateways: [],
    })
    expect(canaryIn(JSON.stringify(answer))).toBe(false)
  })

  test('what waits behind an event that fails is not called processed, though its claim is made (G4, G6)', async () => {
    const [found] = (await where('id=climate-7', await served.tokenOf('viewer'))).found
    expect(found?.processed.map(({ group }) => group)).toEqual(['other'])
    expect(found?.parked).toMatchObject([
      { group: 'siren', at: '2026-11-26T09:16:00.000Z', first: false, nextAt: '2026-11-26T09:20:00.000Z' },
    ])
    const { stdout } = await command('where', 'climate-7', '--config', served.configFile)
    expect(stdout).toMatch(/siren +waits behind another of its device: attempt 2 at 2026-11-26T09:20:00/)
  })

  test('a reading that was rejected at the edge is found by the ID that its device gave it, and says what was made of it', async () => {
    const viewer = await where('id=climate-2', await served.tokenOf('viewer'))
    expect(viewer.found).toMatchObject([
      {
        places: [
          {
            claimed: true,
            disposition: 'rejected',
            code: 'REJECTED_AT_EDGE',
            admission: { epoch: 'C1', sequence: 5 },
          },
        ],
      },
    ])
    expect(canaryIn(JSON.stringify(viewer))).toBe(false)
    const analyst = await where('id=climate-2', await served.tokenOf('analyst'))
    expect(analyst.found[0]?.places[0]?.reason).toContain(canary)
  })

  test('what is not here may be in front of a gap, or have expired: each gateway’s newest ledger says so', async () => {
    const { found, gateways } = await where('id=nobody', await served.tokenOf('viewer'))
    expect(found).toEqual([])
    expect(gateways).toMatchObject([
      {
        gateway: 'gateway-2',
        epoch: 'E2',
        lastSequence: 7,
        gaps: [[4, 4]],
        undelivered: [[6, 6, 'expired']],
      },
      { gateway: 'gateway-1', lastSequence: 60_000, gaps: [], undelivered: [] },
    ])
  })

  test('a token for some types and groups hears of no others', async () => {
    const power = await served.tokenOf('viewer', { types: ['com.acme.power'] })
    expect(await where('id=climate-1', power)).toMatchObject({ found: [], gateways: [] })
    const other = await served.tokenOf('viewer', { groups: ['other'] })
    expect(await where('id=climate-1', other)).toMatchObject({ found: [], gateways: [] })
    expect(await where('id=nobody', other)).toMatchObject({ found: [], gateways: [] })
    const alerts = await served.tokenOf('viewer', { groups: ['alerts'] })
    const [found] = (await where('id=climate-1', alerts)).found
    expect(found).toMatchObject({ places: [], notes: [] })
    expect(found?.letters).not.toEqual([])
    const history = await served.tokenOf('viewer', { groups: ['history'] })
    expect((await where('id=climate-1', history)).found[0]?.places).not.toEqual([])
  })

  test('`tidegate where` tells it in lines, and how to ask the gateway; it ends with 1 if nothing was found', async () => {
    const found = await command('where', 'climate-1', '--config', served.configFile)
    expect(found.code).toBe(0)
    expect(found.stdout).toContain('com.acme.climate climate-1  of sensor-010')
    expect(found.stdout).toMatch(/energy +included {2}\(projection\)/)
    expect(found.stdout).toMatch(/energy +not yet; version 2, which is not active {2}\(projection\)/)
    expect(found.stdout).toMatch(/09:14:02\.401 {2}admitted {8}gateway-2 {2}E2\/1 {2}\+ 0\.288 s/)
    expect(found.stdout).toMatch(/alerts +dead letter 1 open, 3 attempts, SITE_UNKNOWN/)
    expect(found.stdout).toContain('not known here: when it was sent')
    const missing = await command('where', 'nobody', '--config', served.configFile)
    expect(missing.code).toBe(1)
    expect(missing.stdout).toContain('gateway-2  E2 up to 7')
    expect(missing.stdout).toContain('it may be in a gap: 4')
    expect(missing.stdout).toContain('tidegate outbox find nobody')
  })

  test('it touches three pages or so of each partition, found or not', async () => {
    const partitions = await owner.query('select from tidegate.partitions')
    const each = partitions.length
    const statements: readonly [string, readonly unknown[], number][] = [
      [eventsSql, ['id-30000', null, null, 21], 4 * each],
      [eventsSql, ['nobody', null, null, 21], 4 * each],
      [groupsSql, ['id-30000', null, null], 3 * each + 50],
      [lettersSql, ['id-30000', null, null, null], 20],
      [notesSql, ['id-30000', null], 20],
      [parkedSql, ['id-30000', null, null], 3 * each + 60],
      // Of each of two gateways the newest places, one for one; the newest events; each epoch in each partition.
      [gatewaysSql, [], 24_000],
    ]
    for (const [sql, values, pagesMax] of statements)
      expect([sql, (await explained(owner, sql, values)).pages]).toEqual([
        sql,
        expect.toSatisfy((pages: number) => pages <= pagesMax),
      ])
    expect((await readWhere(owner.query.bind(owner), { id: 'id-30000' }, {})).found).toHaveLength(1)
  })
})
