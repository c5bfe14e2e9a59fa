import { beforeEach, describe, expect, test } from 'vitest'
import { createDatabase as poolOf } from '../../../cloud/database/database-postgres.ts'
import type { GroupStates } from '../../../cloud/protection/group-states.ts'
import { postgresGroupStates } from '../../../cloud/protection/group-states-postgres.ts'
import { migrated } from '../../support/cloud/cloud.ts'
import { FakeClock } from '../../support/fakes/clock.ts'
import { fakeGroupStates } from '../../support/fakes/group-states.ts'
import { createDatabase } from '../../support/servers.ts'

interface Table {
  states: GroupStates
  /** Of a group: its time is over. */
  expire(group: string): Promise<void>
}

async function fake(): Promise<Table> {
  const clock = new FakeClock()
  return { states: fakeGroupStates(clock), expire: () => clock.advance(3_600_000) }
}

async function postgres(): Promise<Table> {
  const database = poolOf({ url: await createDatabase(), poolMax: 4, applicationName: 'test' })
  await migrated(database)
  return {
    states: postgresGroupStates(database),
    async expire(group) {
      await database.query(
        `update tidegate.group_states set until = until - interval '1 hour' where consumer_group = $1`,
        [group],
      )
    },
  }
}

describe.each([
  ['fake', fake],
  ['PostgreSQL', postgres],
])('states of groups (%s)', (_, open) => {
  let table: Table
  let states: GroupStates
  beforeEach(async () => {
    table = await open()
    states = table.states
  })
  const stateOf = async (group: string) => (await states.read()).states.find((state) => state.group === group)

  test('a group that works has none, and the time is told all the same', async () => {
    const { states: known, nowMs } = await states.read()
    expect(known).toEqual([])
    expect(nowMs).toBeGreaterThan(Date.UTC(2025, 0))
  })

  test('a pause is there until it is resumed, and says who and why', async () => {
    await states.pause({ group: 'alerts', actor: 'ada', reason: 'CRM\0 is down' })
    expect(await stateOf('alerts')).toMatchObject({
      state: 'paused',
      actor: 'ada',
      untilMs: undefined,
      trips: 0,
    })
    expect(await states.trip('alerts', 'a', 'fails', 1_000)).toBe(false)
    expect(await states.beginTrial('alerts', 'a', 1_000)).toBe(false)
    expect(await states.resume('alerts')).toBe(true)
    expect(await states.resume('alerts')).toBe(false)
    expect(await stateOf('alerts')).toBeUndefined()
  })

  test('a pause with an end is gone after it', async () => {
    await states.pause({ group: 'alerts', actor: 'ada', reason: 'r', forMs: 60_000 })
    expect((await stateOf('alerts'))?.untilMs).toBeGreaterThan(0)
    await table.expire('alerts')
    expect(await stateOf('alerts')).toBeUndefined()
    expect(await states.resume('alerts')).toBe(false)
  })

  test('of all instances that notice it one has tripped it', async () => {
    const tripped = await Promise.all(
      ['a', 'b', 'c'].map((instance) => states.trip('alerts', instance, 'fails', 30_000)),
    )
    expect(tripped.filter(Boolean)).toHaveLength(1)
    expect(await stateOf('alerts')).toMatchObject({ state: 'tripped', trips: 1, reason: 'fails' })
  })

  test('one instance tries, once the time is over, and says how it went', async () => {
    await states.trip('alerts', 'a', 'fails', 30_000)
    expect(await states.beginTrial('alerts', 'a', 60_000)).toBe(false)
    await table.expire('alerts')
    const began = await Promise.all(
      ['a', 'b', 'c'].map((instance) => states.beginTrial('alerts', instance, 60_000)),
    )
    expect(began.filter(Boolean)).toHaveLength(1)
    const instance = ['a', 'b', 'c'][began.indexOf(true)] as string
    const other = instance === 'a' ? 'b' : 'a'
    expect(await states.renewTrial('alerts', other, 60_000)).toBe(false)
    expect(await states.failTrial('alerts', other, 'r', 1_000)).toBe(false)
    expect(await states.endTrial('alerts', other)).toBe(false)
    expect(await states.renewTrial('alerts', instance, 60_000)).toBe(true)
    expect(await states.failTrial('alerts', instance, 'still fails', 60_000)).toBe(true)
    expect(await stateOf('alerts')).toMatchObject({ state: 'tripped', trips: 2, reason: 'still fails' })
    await table.expire('alerts')
    expect(await states.beginTrial('alerts', other, 60_000)).toBe(true)
    expect(await states.endTrial('alerts', other)).toBe(true)
    expect(await stateOf('alerts')).toBeUndefined()
  })

  test('an instance that says nothing any more is followed by another, and has no say any more', async () => {
    await states.trip('alerts', 'a', 'fails', 30_000)
    await table.expire('alerts')
    expect(await states.beginTrial('alerts', 'a', 60_000)).toBe(true)
    expect(await states.beginTrial('alerts', 'b', 60_000)).toBe(false)
    await table.expire('alerts')
    expect(await states.beginTrial('alerts', 'b', 60_000)).toBe(true)
    expect(await states.endTrial('alerts', 'a')).toBe(false)
  })

  test('whoever gets nothing to try lets another try at once', async () => {
    await states.trip('alerts', 'a', 'fails', 30_000)
    await table.expire('alerts')
    await states.beginTrial('alerts', 'a', 60_000)
    expect(await states.yieldTrial('alerts', 'b')).toBe(false)
    expect(await states.yieldTrial('alerts', 'a')).toBe(true)
    expect(await states.beginTrial('alerts', 'b', 60_000)).toBe(true)
  })

  test('a pause by a person comes over a trial, and ends it', async () => {
    await states.trip('alerts', 'a', 'fails', 30_000)
    await table.expire('alerts')
    await states.beginTrial('alerts', 'a', 60_000)
    await states.pause({ group: 'alerts', actor: 'ada', reason: 'r' })
    expect(await states.endTrial('alerts', 'a')).toBe(false)
    expect(await stateOf('alerts')).toMatchObject({ state: 'paused' })
  })
})
