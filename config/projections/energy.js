import { defineProjection } from 'tidegate/consumer'

const dayMs = 86_400_000
/** What was not told of for longer is not known. */
const gapMsMax = 15 * 60_000

/** Energy per device and day, from events of `com.acme.power` with `data: { watts }`. Ask `projection.energy`. */
export default defineProjection({
  name: 'energy',
  version: 1,
  events: ['com.acme.power'],
  tables: new URL('./energy.sql', import.meta.url),
  async apply(events, { tx }) {
    const devices = [...new Set(events.map((event) => event.partitionkey))]
    const { rows } = await tx.query('select device, time_ms, watts from energy_last where device = any($1)', [
      devices,
    ])
    const last = new Map(rows.map(({ device, time_ms, watts }) => [device, { timeMs: time_ms, watts }]))
    const joules = new Map()
    for (const event of events) {
      const device = event.partitionkey
      const { watts } = event.data
      if (typeof watts !== 'number') continue
      const timeMs = Date.parse(event.timestatus === 'implausible' ? event.recordedtime : event.time)
      const before = last.get(device)
      // What comes late is counted already: by the reading before it.
      if (before && timeMs <= before.timeMs) continue
      if (before) add(joules, device, before, Math.min(timeMs, before.timeMs + gapMsMax))
      last.set(device, { timeMs, watts })
    }
    await write(tx, joules, last)
  },
})

/** What a reading comes to until a time, by day. */
function add(joules, device, { timeMs, watts }, untilMs) {
  for (let fromMs = timeMs; fromMs < untilMs;) {
    const dayEndsMs = (Math.floor(fromMs / dayMs) + 1) * dayMs
    const toMs = Math.min(untilMs, dayEndsMs)
    const key = `${device} ${new Date(fromMs).toISOString().slice(0, 10)}`
    joules.set(key, (joules.get(key) ?? 0) + (watts * (toMs - fromMs)) / 1000)
    fromMs = toMs
  }
}

async function write(tx, joules, last) {
  const keys = [...joules.keys()].map((key) => key.split(' '))
  await tx.query(
    `insert into energy as e select * from unnest($1::text[], $2::date[], $3::float8[])
     on conflict (device, day) do update set joules = e.joules + excluded.joules`,
    [keys.map(([device]) => device), keys.map(([, day]) => day), [...joules.values()]],
  )
  const readings = [...last.values()]
  await tx.query(
    `insert into energy_last select * from unnest($1::text[], $2::float8[], $3::float8[])
     on conflict (device) do update set time_ms = excluded.time_ms, watts = excluded.watts`,
    [[...last.keys()], readings.map(({ timeMs }) => timeMs), readings.map(({ watts }) => watts)],
  )
}
