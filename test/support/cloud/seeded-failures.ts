import { createHash, randomUUID } from 'node:crypto'
import { Client } from 'pg'

/** What a device sent, and what was said of it: it is in every place of a failure where such may be. */
export const canary = 'cAnArY-7f3e91'

export const seeded = {
  group: 'alerts',
  fingerprint: 'abcdef0123456789',
  device: 'sensor-1',
  gateway: 'gateway-1',
  epoch: '01M8AYEPOCH',
  sequence: 7,
} as const

/** A base64 of it begins at one of three places. */
export function canaryIn(text: string): boolean {
  const inBase64 = [0, 1, 2].map((skipped) => {
    const bytes = Buffer.concat([Buffer.alloc(skipped), Buffer.from(canary), Buffer.alloc(3)])
    return bytes.toString('base64').slice(skipped === 0 ? 0 : 4, 12)
  })
  return [canary, ...inBase64].some((one) => text.includes(one))
}

/** So many letters of one failure group, a quarantined reading, a parked device, a replay and deeds: all with the canary in them. */
export async function seedFailures(databaseUrl: string, letters = 5): Promise<void> {
  const client = new Client(databaseUrl)
  await client.connect()
  try {
    const deed = randomUUID()
    await client.query(failureGroupSql, [seeded.fingerprint, seeded.group, `no site for ${canary}`])
    for (let letter = 0; letter < letters; letter++) {
      const key = createHash('sha256').update(String(letter)).digest()
      const body =
        letter % 2 === 0
          ? Buffer.from(JSON.stringify({ data: canary }))
          : Buffer.from([0xff, ...Buffer.from(canary)])
      await client.query(letterSql, [
        seeded.group,
        key,
        `event-${letter}`,
        body,
        canary,
        seeded.fingerprint,
        failuresOf(),
      ])
    }
    const said = {
      reason: 'SCHEMA_VIOLATION',
      detail: canary,
      topic: canary,
      id: canary,
      type: `Not a type ${canary}`,
    }
    const data = {
      ...said,
      payloadBytes: 9,
      payload: Buffer.from(canary).toString('base64'),
      truncated: false,
    }
    const { gateway, epoch, sequence } = seeded
    await client.query(rejectedSql, [gateway, epoch, sequence, JSON.stringify({ data })])
    await client.query(parkedSql, [seeded.group, seeded.device, canary])
    const patch = [{ op: 'replace', path: '/kpa', value: canary }]
    await client.query(
      `insert into tidegate.deeds (deed, actor, roles, verb, reason, request) values ($1, 'ann', '{editor}', 'edit', 'unit', $2)`,
      [deed, JSON.stringify({ letter: 1, patch })],
    )
    await client.query(
      `insert into tidegate.replays (deed, filter, state, through, total) values ($1, '{"group":"alerts"}', 'done', 5, 5)`,
      [deed],
    )
    await client.query(
      `insert into tidegate.members (consumer_group, instance, seen_at, queue_generation) values ($1, 'cloud-1', now(), 1)`,
      [seeded.group],
    )
  } finally {
    await client.end()
  }
}

function failuresOf(): string {
  return JSON.stringify([
    { attempt: 1, at: '2026-11-27T08:00:00.000Z', code: 'SITE_UNKNOWN', message: canary },
  ])
}

const failureGroupSql = `
insert into tidegate.failure_groups (fingerprint, consumer_group, code, type, message, frame, first_seen, last_seen, letters, open)
values ($1, $2, 'SITE_UNKNOWN', 'com.acme.climate', $3, 'at siteOf (alerts.mjs)', now(), now(), 0, 0)`

const letterSql = `
insert into tidegate.dead_letters (consumer_group, key, source, id, type, device, gateway, epoch, sequence, body, properties, headers,
  routing_key, queue, fingerprint, code, message, stack, attempts, failures, instance, first_failed_at, last_failed_at, edit)
values ($1, $2, '/devices/sensor-1', $3, 'com.acme.climate', 'sensor-1', 'gateway-1', '01M8AYEPOCH', 1, $4,
  json_build_object('messageId', $5::text), json_build_object('x-said', $5::text), '01.com.acme.climate', 'alerts.01', $6,
  'SITE_UNKNOWN', $5, 'at ' || $5, 3, $7, 'cloud-1', now(), now(), json_build_object('patch', $5::text))`

const rejectedSql = `
insert into tidegate.events (gateway, epoch, sequence, source, id, type, time, recorded_time, disposition, reason, body)
values ($1, $2, $3, '/devices/sensor-1', 'rejected-1', 'dev.tidegate.rejected', now(), now(), 'rejected', 'SCHEMA_VIOLATION', $4)`

const parkedSql = `
with counted as (
  insert into tidegate.parked_counts (consumer_group, device, events) values ($1, $2, 1)), waiting as (
  insert into tidegate.parked_events (consumer_group, device, key, body, properties, headers, routing_key, queue, arrived_at)
  values ($1, $2, 'k', 'b', '{}', '{}', 'r', 'q', now()))
insert into tidegate.parked_devices (consumer_group, device, state, attempt, next_at, code, message)
values ($1, $2, 'retrying', 2, now(), 'SITE_UNKNOWN', $3)`
