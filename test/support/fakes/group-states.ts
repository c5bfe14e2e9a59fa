import type { Clock } from '../../../src/clock.ts'
import type { GroupState, GroupStates } from '../../../cloud/protection/group-states.ts'

/** As the table of all instances, by the clock of the test. */
export function fakeGroupStates(clock: Clock): GroupStates & { down: boolean } {
  const rows = new Map<string, GroupState>()
  const until = (forMs: number | undefined): number | undefined =>
    forMs === undefined ? undefined : clock.now() + forMs
  const own = (group: string, instance: string): GroupState | undefined => {
    const row = rows.get(group)
    return row?.state === 'trial' && row.actor === instance ? row : undefined
  }
  const fake = {
    down: false,
    async read() {
      answer()
      for (const [group, row] of rows)
        if (row.state === 'paused' && row.untilMs !== undefined && row.untilMs <= clock.now())
          rows.delete(group)
      return { states: [...rows.values()], nowMs: clock.now() }
    },
    async pause({ group, actor, reason, forMs }) {
      answer()
      rows.set(group, {
        group,
        state: 'paused',
        sinceMs: clock.now(),
        untilMs: until(forMs),
        trips: 0,
        actor,
        reason,
      })
    },
    async resume(group) {
      answer()
      return rows.delete(group)
    },
    async trip(group, actor, reason, forMs) {
      answer()
      if (rows.has(group)) return false
      rows.set(group, {
        group,
        state: 'tripped',
        sinceMs: clock.now(),
        untilMs: until(forMs),
        trips: 1,
        actor,
        reason,
      })
      return true
    },
    async beginTrial(group, actor, leaseMs) {
      answer()
      const row = rows.get(group)
      if (row === undefined || row.state === 'paused' || (row.untilMs ?? Infinity) > clock.now()) return false
      rows.set(group, { ...row, state: 'trial', actor, sinceMs: clock.now(), untilMs: until(leaseMs) })
      return true
    },
    async renewTrial(group, actor, leaseMs) {
      answer()
      const row = own(group, actor)
      if (row) rows.set(group, { ...row, untilMs: until(leaseMs) })
      return row !== undefined
    },
    async yieldTrial(group, actor) {
      answer()
      const row = own(group, actor)
      if (row) rows.set(group, { ...row, untilMs: clock.now() })
      return row !== undefined
    },
    async failTrial(group, actor, reason, forMs) {
      answer()
      const row = own(group, actor)
      if (row)
        rows.set(group, {
          ...row,
          state: 'tripped',
          sinceMs: clock.now(),
          untilMs: until(forMs),
          trips: row.trips + 1,
          reason,
        })
      return row !== undefined
    },
    async endTrial(group, actor) {
      answer()
      return own(group, actor) !== undefined && rows.delete(group)
    },
  } satisfies GroupStates & { down: boolean }

  function answer(): void {
    if (fake.down) throw new Error('the database is down')
  }
  return fake
}
