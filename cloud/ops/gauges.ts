import { Counter, Gauge, type Registry } from 'prom-client'
import type { Group } from '../groups/group.ts'
import type { ReplaysUnderWay, Standing } from '../letters/upkeep.ts'
import type { SchemasInUse } from '../reading/schemas.ts'
import type { RunnerStatus } from '../projections/runner.ts'
import type { CloudState } from './readiness.ts'

/** What is read when somebody looks. */
export function watch(state: CloudState, registers: Registry[]): void {
  watchGroups(state, registers)
  watchLanes(state, registers)
  watchParking(state, registers)
  watchStates(state, registers)
  watchLetters(state, registers)
  watchReplays(state, registers)
  watchProjections(state, registers)
  watchQueues(state, registers)
  watchPartitions(state, registers)
  watchServers(state, registers)
  watchCertificates(state, registers)
  watchHistory(state, registers)
  watchSchemas(state, registers)
}

function watchSchemas({ schemas }: CloudState, registers: Registry[]): void {
  const inUse: Gauge<'origin' | 'digest'> = new Gauge({
    name: 'tidegate_cloud_schemas_in_use',
    help: '1 for the schemas that are in use, by where they come from and by the beginning of their digest',
    labelNames: ['origin', 'digest'],
    registers,
    collect() {
      const { origin, digest } = schemas.inUse
      inUse.reset()
      if (digest !== undefined) inUse.set({ origin, digest: digest.slice(0, 12) }, 1)
    },
  })
  const one = (name: string, help: string, read: (inUse: SchemasInUse) => number): void => {
    const gauge: Gauge = new Gauge({
      name: `tidegate_cloud_schemas_${name}`,
      help,
      registers,
      collect() {
        gauge.set(read(schemas.inUse))
      },
    })
  }
  one(
    'revision',
    'Revision of the registry that is in use; 0 where schemas come from a folder',
    (now) => now.revision ?? 0,
  )
  one('faulty', '1 while there are other schemas that cannot be used, so that those of before are', (now) =>
    Number(now.fault !== undefined),
  )
  one(
    'absent_code',
    'Steps of upcasters whose code is not in schemas.folder: what needs them waits',
    (now) => now.absent.length,
  )
  const made: Counter<'schema'> = new Counter({
    name: 'tidegate_cloud_schema_unknown_total',
    help: 'Checks of events whose version of a schema is not known here, by its name; of each group, and once an attempt',
    labelNames: ['schema'],
    registers,
    collect() {
      made.reset()
      for (const [schema, count] of schemas.unknown.counts) made.inc({ schema }, count)
    },
  })
}

function watchHistory({ horizon }: CloudState, registers: Registry[]): void {
  const age: Gauge = new Gauge({
    name: 'tidegate_cloud_history_horizon_age_seconds',
    help: 'How long the oldest transaction that has not ended has been seen: what was stored since can be read when it ends',
    registers,
    collect() {
      age.set(horizon.ageMs() / 1000)
    },
  })
}

function watchGroups({ groups }: CloudState, registers: Registry[]): void {
  const perGroup = (name: string, help: string, read: (group: Group) => number): void => {
    const gauge: Gauge<'group'> = new Gauge({
      name: `tidegate_cloud_${name}`,
      help,
      labelNames: ['group'],
      registers,
      collect() {
        for (const group of groups) gauge.set({ group: group.name }, read(group))
      },
    })
  }
  perGroup('in_flight', 'Deliveries taken and not settled', (group) => group.inFlight)
  perGroup('partitions_active', 'Partitions that deliver to this instance', (group) => group.active)
  perGroup('held', '1 while deliveries are held because of an outage', (group) =>
    Number(group.heldBy !== undefined),
  )
  perGroup(
    'stalled_seconds',
    'How long there has been work without progress',
    (group) => group.progress().stalledMs / 1000,
  )
}

function watchLanes({ groups }: CloudState, registers: Registry[]): void {
  const starved: Gauge<'group' | 'lane'> = new Gauge({
    name: 'tidegate_cloud_lane_starved_seconds',
    help: 'How long the oldest deliveries of a lane have waited for attempts that failed, and for the one under way',
    labelNames: ['group', 'lane'],
    registers,
    collect() {
      for (const { name: group, lanesStarvedMs } of groups)
        for (const [lane, starvedMs] of lanesStarvedMs.entries())
          starved.set({ group, lane }, starvedMs / 1000)
    },
  })
}

/** Every instance says the same of a group, as of its last count. */
function watchParking({ groups, unattended }: CloudState, registers: Registry[]): void {
  const devices: Gauge<'group' | 'state'> = new Gauge({
    name: 'tidegate_cloud_parked_devices',
    help: 'Devices whose events wait behind one that failed: it is tried again, or held until an operator says how it goes on',
    labelNames: ['group', 'state'],
    registers,
    collect() {
      for (const { name: group, parked } of groups)
        for (const state of ['retrying', 'held'] as const) devices.set({ group, state }, parked[state])
    },
  })
  const alone: Gauge<'group'> = new Gauge({
    name: 'tidegate_cloud_parked_unattended_devices',
    help: 'Parked devices of groups that no instance runs: nobody tries their events',
    labelNames: ['group'],
    registers,
    collect() {
      alone.reset()
      for (const { group, devices: count } of unattended()) alone.set({ group }, count)
    },
  })
  const perGroup = (name: string, help: string, read: (parked: Group['parked']) => number): void => {
    const gauge: Gauge<'group'> = new Gauge({
      name: `tidegate_cloud_parked_${name}`,
      help,
      labelNames: ['group'],
      registers,
      collect() {
        for (const { name: group, parked } of groups) gauge.set({ group }, read(parked))
      },
    })
  }
  perGroup('events', 'Events that wait for parked devices', ({ events }) => events)
  perGroup(
    'oldest_seconds',
    'How long the device that has been parked longest has been so',
    ({ oldestMs }) => oldestMs / 1000,
  )
}

/** Of each group one is 1. */
const groupStates = ['working', 'paused', 'tripped', 'trial'] as const

function watchStates({ groups }: CloudState, registers: Registry[]): void {
  const gauge: Gauge<'group' | 'state'> = new Gauge({
    name: 'tidegate_cloud_group_state',
    help: '1 for the state that a group is in: working, paused by a person, tripped, or on trial',
    labelNames: ['group', 'state'],
    registers,
    collect() {
      for (const group of groups)
        for (const state of groupStates)
          gauge.set({ group: group.name, state }, Number((group.state?.state ?? 'working') === state))
    },
  })
}

function watchLetters({ groups, letters }: CloudState, registers: Registry[]): void {
  const perGroup = (name: string, help: string, read: (standing: Standing | undefined) => number): void => {
    const gauge: Gauge<'group'> = new Gauge({
      name: `tidegate_cloud_dead_letters_${name}`,
      help,
      labelNames: ['group'],
      registers,
      collect() {
        const standing = letters()
        for (const { name: group } of groups)
          gauge.set({ group }, read(standing.find((one) => one.group === group)))
      },
    })
  }
  perGroup('open', 'Dead letters that are neither resolved nor discarded', (standing) => standing?.open ?? 0)
  perGroup('open_bytes', 'What the bodies of open dead letters take', (standing) => standing?.bytes ?? 0)
  perGroup(
    'oldest_seconds',
    'Age of the oldest open dead letter; 0 while there is none',
    (standing) => (standing?.oldestAgeMs ?? 0) / 1000,
  )
}

function watchReplays({ replays }: CloudState, registers: Registry[]): void {
  const ofAll = (name: string, help: string, read: (underWay: ReplaysUnderWay) => number): void => {
    const gauge: Gauge = new Gauge({
      name: `tidegate_cloud_replays_${name}`,
      help,
      registers,
      collect() {
        gauge.set(read(replays()))
      },
    })
  }
  ofAll('running', 'Replays that have not ended', (underWay) => underWay.replays)
  ofAll('oldest_seconds', 'Age of the oldest of them', ({ oldestAgeMs }) => oldestAgeMs / 1000)
  ofAll('still_seconds', 'How long nothing has moved in one of them', ({ stillMs }) => stillMs / 1000)
  ofAll(
    'history_left',
    'Positions of history that replays out of history, and groups that begin at its beginning, have still before them',
    ({ historyLeft }) => historyLeft,
  )
  const letters: Gauge<'outcome'> = new Gauge({
    name: 'tidegate_cloud_replays_letters',
    help: 'Letters and events of replays that have not ended: sent, and what became of them',
    labelNames: ['outcome'],
    registers,
    collect() {
      const { sent, resolved, failed, repeats } = replays()
      for (const [outcome, count] of Object.entries({ sent, resolved, failed, repeats }))
        letters.set({ outcome }, count)
    },
  })
}

const projectionStates = ['waiting', 'working', 'halted'] as const

function watchProjections(state: CloudState, registers: Registry[]): void {
  const labelNames = ['projection', 'version'] as const
  const states: Gauge<'projection' | 'version' | 'state'> = new Gauge({
    name: 'tidegate_cloud_projection_state',
    help: '1 for what this instance does with a version of a projection: waits for another’s lease, works, or has halted at an event',
    labelNames: [...labelNames, 'state'],
    registers,
    collect() {
      for (const { name: projection, version, doing } of state.projections())
        for (const one of projectionStates)
          states.set({ projection, version, state: one }, Number(doing === one))
    },
  })
  const perVersion = (name: string, help: string, read: (status: RunnerStatus) => number): void => {
    const gauge: Gauge<'projection' | 'version'> = new Gauge({
      name: `tidegate_cloud_projection_${name}`,
      help,
      labelNames,
      registers,
      collect() {
        for (const status of state.projections())
          gauge.set({ projection: status.name, version: status.version }, read(status))
      },
    })
  }
  perVersion(
    'lag_seconds',
    'How long the events that are applied next have been in history; 0 at the horizon',
    (status) => status.lagMs / 1000,
  )
  perVersion('events', 'Events that this instance has applied since it started', (status) => status.applied)
  perVersion('failing', '1 while it gets no further', (status) => Number(status.fault !== undefined))
  const unheld: Gauge = new Gauge({
    name: 'tidegate_cloud_projections_unheld',
    help: 'Versions of projections that readers see and that no instance works at',
    registers,
    collect() {
      unheld.set(state.unheld().length)
    },
  })
}

function watchQueues(state: CloudState, registers: Registry[]): void {
  const former: Gauge<'group' | 'state'> = new Gauge({
    name: 'tidegate_cloud_former_queues',
    help: 'Partition queues of former versions that are there: being drained, or drained and to be deleted',
    labelNames: ['group', 'state'],
    registers,
    collect() {
      for (const group of state.groups)
        for (const [state, count] of Object.entries(group.former))
          former.set({ group: group.name, state }, count)
    },
  })
  const retired: Gauge<'group'> = new Gauge({
    name: 'tidegate_cloud_retired_messages',
    help: 'Messages in queues of a group of a former version that history does not have, seen by the instance that would delete them',
    labelNames: ['group'],
    registers,
    collect() {
      const { group, waiting } = state.retired()
      retired.set({ group }, waiting)
    },
  })
  const findings: Gauge<'severity'> = new Gauge({
    name: 'tidegate_cloud_queue_findings',
    help: 'Settings of queues that are not as they should be; none without a look at them',
    labelNames: ['severity'],
    registers,
    collect() {
      findings.reset()
      for (const [severity, count] of Object.entries(state.findings() ?? {}))
        findings.set({ severity }, count)
    },
  })
}

function watchPartitions(state: CloudState, registers: Registry[]): void {
  const ahead: Gauge = new Gauge({
    name: 'tidegate_cloud_history_weeks_ahead',
    help: 'Weeks to come for which history has a partition; NaN until somebody has looked',
    registers,
    collect() {
      ahead.set(state.partitions()?.weeksAhead ?? NaN)
    },
  })
  const other: Gauge = new Gauge({
    name: 'tidegate_cloud_history_other_events',
    help: 'Events stored in the last day that belonged to no week of history; NaN until somebody has looked',
    registers,
    collect() {
      other.set(state.partitions()?.otherEvents ?? NaN)
    },
  })
}

function watchServers(state: CloudState, registers: Registry[]): void {
  const database: Gauge = new Gauge({
    name: 'tidegate_cloud_database_up',
    help: '1 while the database answers',
    registers,
    collect() {
      database.set(Number(state.databaseFault() === undefined))
    },
  })
  const broker: Gauge<'connection'> = new Gauge({
    name: 'tidegate_cloud_broker_up',
    help: '1 while connected to the broker, by connection',
    labelNames: ['connection'],
    registers,
    collect() {
      for (const [connection, up] of Object.entries(state.brokersUp())) broker.set({ connection }, Number(up))
    },
  })
}

function watchCertificates(state: CloudState, registers: Registry[]): void {
  const perCertificate = (name: string, help: string, read: () => Readonly<Record<string, number>>): void => {
    const gauge: Gauge<'certificate'> = new Gauge({
      name: `tidegate_cloud_${name}`,
      help,
      labelNames: ['certificate'],
      registers,
      collect() {
        for (const [certificate, value] of Object.entries(read())) gauge.set({ certificate }, value)
      },
    })
  }
  perCertificate('certificate_days_left', 'Days until a certificate ends', () => state.tls.daysLeft())
  perCertificate('tls_faulty', '1 while files of a certificate cannot be used, and those of before are', () =>
    state.tls.faulty(),
  )
}
