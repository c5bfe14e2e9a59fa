import { defineProjection } from 'tidegate/consumer'

const dayMs = 86_400_000
/** What was not told of for longer is not known. */
const gapMsMax = 15 * 60_000
/** No meter tells of more: a reading beyond it is a fault, as is one that is no number. */
const wattsMax = 1e9
/** What dates of PostgreSQL and of JavaScript both have, and a clock may say. */
const timeMsMax = Date.UTC(9999, 0)

/** Energy per device and day, from events of `com.acme.power` with `data: { watts }`. Ask `projection.energy`. */
export default defineProjection({
  name: 'energy',
  version: 1,
  events: ['com.acme.power'],
  tables: new URL('./energy.sql', import.meta.url),
  async apply(events, { tx }) {
    const readings = events.map(readingOf).filter((reading) => reading !== undefined)
    if (readings.length === 0) return
    const last = await lastOf(tx, [...new Set(readings.map(({ device }) => device))])
    const sums = new Map()
    for (const reading of readings) {
      const before = last.get(reading.device)
      // What comes late is counted already: by the reading before it.
      if (before && reading.timeMs <= before.timeMs) continue
      if (before) add(sums, before, Math.min(reading.timeMs, before.timeMs + gapMsMax))
      last.set(reading.device, reading)
    }
    await write(tx, [...sums.values()], [...last.values()])
  },
})

/** Devices send what they like: what is no reading is left out, and stops nothing. Undefined: it is none. */
function readingOf(event) {
  const watts = event.data?.watts
  const timeMs = Date.parse(event.timestatus === 'implausible' ? event.recordedtime : event.time)
  if (typeof watts !== 'number' || !(Math.abs(watts) <= wattsMax)) return undefined
  if (!(timeMs >= 0 && timeMs < timeMsMax)) return undefined
  // Whole numbers add up to the same however events are cut into batches; fractions of two do not.
  return { device: event.partitionkey, timeMs, milliwatts: BigInt(Math.round(watts * 1000)) }
}

async function lastOf(tx, devices) {
  const sql = 'select device, time_ms, milliwatts from energy_last where device = any($1)'
  const { rows } = await tx.query(sql, [devices])
  return new Map(
    rows.map(({ device, time_ms, milliwatts }) => [
      device,
      { device, timeMs: Number(time_ms), milliwatts: BigInt(milliwatts) },
    ]),
  )
}

/** What a reading comes to until a time, by day: milliwatts times milliseconds are microjoules. */
function add(sums, { device, timeMs, milliwatts }, untilMs) {
  for (let fromMs = timeMs; fromMs < untilMs;) {
    const dayEndsMs = (Math.floor(fromMs / dayMs) + 1) * dayMs
    const toMs = Math.min(untilMs, dayEndsMs)
    const day = new Date(fromMs).toISOString().slice(0, 10)
    const key = `${day} ${device}`
    const before = sums.get(key)?.microjoules ?? 0n
    sums.set(key, { device, day, microjoules: before + milliwatts * BigInt(toMs - fromMs) })
    fromMs = toMs
  }
}

async function write(tx, sums, readings) {
  await tx.query(
    `insert into energy as e select device, day, microjoules * 0.000001 from unnest($1::text[], $2::date[], $3::numeric[]) as s (device, day, microjoules)
     on conflict (device, day) do update set joules = e.joules + excluded.joules`,
    [
      sums.map(({ device }) => device),
      sums.map(({ day }) => day),
      sums.map(({ microjoules }) => String(microjoules)),
    ],
  )
  await tx.query(
    `insert into energy_last select * from unnest($1::text[], $2::bigint[], $3::bigint[])
     on conflict (device) do update set time_ms = excluded.time_ms, milliwatts = excluded.milliwatts`,
    [
      readings.map(({ device }) => device),
      readings.map(({ timeMs }) => timeMs),
      readings.map(({ milliwatts }) => String(milliwatts)),
    ],
  )
}
