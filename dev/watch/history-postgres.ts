import { Client } from 'pg'
import { troubleId } from '../fleet/sensors.ts'
import { demoGroup } from '../stack/config.ts'
import type {
  Course,
  DeviceRows,
  Disturbance,
  HistoryReader,
  Identity,
  Latency,
  LatencyRow,
  LetterPlace,
  OtherEvent,
  Recent,
  RowCounts,
  RunEpoch,
  RunFilter,
} from './history.ts'

const ofTheRun = `
  from tidegate.events
  where position > $1 and source = any($2::text[])
    and (recorded_time >= to_timestamp($3::float8 / 1000) or recorded_time < '2000-01-01')`
const latencyMs = `greatest(0, extract(epoch from stored_time - recorded_time) * 1000)::float8`
const percentiles = (prefix: string, condition: string): string =>
  `count(*) filter (where ${condition}) as ${prefix}_count,
   coalesce(percentile_cont(0.5) within group (order by latency_ms) filter (where ${condition}), 0) as ${prefix}_p50,
   coalesce(percentile_cont(0.99) within group (order by latency_ms) filter (where ${condition}), 0) as ${prefix}_p99`
const disturbed = (from: string, until: string): string =>
  `exists (select 1 from unnest(${from}::float8[], ${until}::float8[]) as w (f, u)
           where extract(epoch from recorded_time) * 1000 between w.f and w.u)`

const secondOf = (time: string): string =>
  `floor(extract(epoch from ${time}) - $3::float8 / 1000)::int as second`

/**
 * What is quarantined and brought no ID is an event each time that a device sends it, as after a kill: the fleet's are told
 * apart by their payloads, of which no two are alike.
 */
const brokenReadings = `count(distinct (source, md5(body->'data'->>'payload'))) filter (where disposition = 'rejected')`

const absentAtOnce = 5000
const othersAtOnce = 20

/** Connects when it is first asked, and again by itself: a database that is killed on purpose is part of the day. */
export function connectHistory(url: string): HistoryReader {
  return new PostgresHistory(url)
}

class PostgresHistory implements HistoryReader {
  readonly #url: string
  #client: Promise<Client> | undefined
  /** Transactions commit out of order for a moment: what is older than that is counted once and for all. */
  #settled = { upTo: 0, count: 0 }

  constructor(url: string) {
    this.#url = url
  }

  async position(): Promise<number> {
    const [row] = await this.#query<{ position: string | null }>(
      'select max(position) as position from tidegate.events',
    )
    return Number(row?.position ?? 0)
  }

  async deadLetters(): Promise<number> {
    const [row] = await this.#query<{ count: string }>(
      `select count(*) as count from tidegate.dead_letters
       where state in ('open', 'replaying') and not (consumer_group = $1 and device = $2)`,
      [demoGroup, troubleId('fahrenheit')],
    )
    return Number(row?.count ?? 0)
  }

  async letterToShow(): Promise<number | undefined> {
    const [row] = await this.#query<{ letter: string }>(
      `select letter from tidegate.dead_letters
       where state = 'open' and consumer_group = $1 and device = $2 order by letter limit 1`,
      [demoGroup, troubleId('fahrenheit')],
    )
    return row && Number(row.letter)
  }

  async recent(filter: RunFilter, disturbances: readonly Disturbance[]): Promise<Recent> {
    const [row] = await this.#query<PercentileRow>(
      `with fresh as (
         select position, ${latencyMs} as latency_ms, ${disturbed('$4', '$5')} as late,
                stored_time < clock_timestamp() - interval '5 s' as settled ${ofTheRun})
       select max(position) filter (where settled) as settled_upto, count(*) filter (where settled) as settled,
              ${percentiles('live', 'not late')}, ${percentiles('backlog', 'late')} from fresh`,
      [Math.max(this.#settled.upTo, filter.position), ...params(filter).slice(1), ...spans(disturbances)],
    )
    if (!row) return { stored: this.#settled.count, live: nothing, backlog: nothing }
    const live = rowOf(row, 'live')
    const backlog = rowOf(row, 'backlog')
    const stored = this.#settled.count + live.count + backlog.count
    this.#settled = {
      upTo: Math.max(this.#settled.upTo, Number(row['settled_upto'] ?? 0)),
      count: this.#settled.count + Number(row['settled'] ?? 0),
    }
    return { stored, live, backlog }
  }

  async stored(filter: RunFilter): Promise<number> {
    const [row] = await this.#query<{ count: string }>(
      `select count(*) filter (where disposition <> 'rejected') + ${brokenReadings} as count ${ofTheRun}`,
      params(filter),
    )
    return Number(row?.count ?? 0)
  }

  async rows(filter: RunFilter): Promise<RowCounts> {
    const rows = await this.#query<GroupRow>(
      `select substr(source, 10) as device, type, disposition,
              case disposition when 'rejected' then body->'data'->>'reason'
                               when 'dead' then split_part(reason, ':', 1) end as why,
              body->>'timestatus' = 'implausible' as implausible,
              case disposition when 'rejected' then ${brokenReadings} else count(*) end as count
       ${ofTheRun} group by 1, 2, 3, 4, 5`,
      params(filter),
    )
    return groupRows(rows)
  }

  async storedTwice(filter: RunFilter): Promise<number> {
    const [row] = await this.#query<{ twice: string }>(
      `select count(*) - count(distinct (source, id)) as twice ${ofTheRun}`,
      params(filter),
    )
    return Number(row?.twice ?? 0)
  }

  async epochs(filter: RunFilter): Promise<RunEpoch[]> {
    const rows = await this.#query<{ epoch: string; from: string }>(
      `select epoch, min(sequence) as "from" ${ofTheRun} group by 1`,
      params(filter),
    )
    return rows.map(({ epoch, from }) => ({ epoch, from: Number(from) }))
  }

  async others(position: number, deviceIds: readonly string[]): Promise<OtherEvent[]> {
    const rows = await this.#query<OtherEvent>(
      `select position::float8, substr(source, 10) as "deviceId", gateway, sequence::float8, disposition,
              coalesce(reason, body->'data'->>'reason') as reason, ${latencyMs} as "latencyMs"
       from tidegate.events
       where position > $1 and source like '/devices/%' and source <> all($2::text[])
       order by position limit ${othersAtOnce}`,
      [position, deviceIds.map((id) => `/devices/${id}`)],
    )
    return rows
  }

  async latency(filter: RunFilter, disturbances: readonly Disturbance[]): Promise<Latency> {
    const [row] = await this.#query<PercentileRow>(
      `with run as (select ${latencyMs} as latency_ms, ${disturbed('$4', '$5')} as late ${ofTheRun})
       select ${percentiles('all', 'true')}, ${percentiles('live', 'not late')}, ${percentiles('backlog', 'late')} from run`,
      [...params(filter), ...spans(disturbances)],
    )
    if (!row) return { all: nothing, live: nothing, backlog: nothing }
    return { all: rowOf(row, 'all'), live: rowOf(row, 'live'), backlog: rowOf(row, 'backlog') }
  }

  async overTime(filter: RunFilter): Promise<Course> {
    const latency = await this.#query<{ second: number; p50: number; p99: number }>(
      `with run as (select ${secondOf('recorded_time')}, ${latencyMs} as latency_ms ${ofTheRun})
       select second, percentile_cont(0.5) within group (order by latency_ms) as p50,
              percentile_cont(0.99) within group (order by latency_ms) as p99
       from run group by 1 order by 1`,
      params(filter),
    )
    const stored = await this.#query<{ second: number; count: string }>(
      `select ${secondOf('stored_time')}, count(*) as count ${ofTheRun} group by 1 order by 1`,
      params(filter),
    )
    return {
      latency: latency.map(({ second, p50, p99 }) => ({ seconds: second + 0.5, p50, p99 })),
      stored: stored.map(({ second, count }) => ({ seconds: second + 0.5, count: Number(count) })),
    }
  }

  async lettersOf(identities: readonly Identity[]): Promise<LetterPlace[]> {
    const found: LetterPlace[] = []
    for (let from = 0; from < identities.length; from += absentAtOnce) {
      const some = identities.slice(from, from + absentAtOnce)
      found.push(
        ...(await this.#query<LetterPlace>(
          `select d.source, d.id, d.letter::float8 as letter, d.consumer_group as "group", d.state
           from tidegate.dead_letters as d join unnest($1::text[], $2::text[]) as s (source, id) using (source, id)
           order by d.letter`,
          [some.map(({ source }) => source), some.map(({ id }) => id)],
        )),
      )
    }
    return found
  }

  async absent(identities: readonly Identity[]): Promise<Identity[]> {
    const absent: Identity[] = []
    for (let from = 0; from < identities.length; from += absentAtOnce) {
      const some = identities.slice(from, from + absentAtOnce)
      absent.push(
        ...(await this.#query<Identity>(
          `select s.source, s.id from unnest($1::text[], $2::text[]) as s (source, id)
           where not exists (select 1 from tidegate.events e where e.source = s.source and e.id = s.id)`,
          [some.map(({ source }) => source), some.map(({ id }) => id)],
        )),
      )
    }
    return absent
  }

  async close(): Promise<void> {
    const open = await this.#client?.catch(() => undefined)
    this.#client = undefined
    await open?.end()
  }

  async #query<Row extends object>(sql: string, params: readonly unknown[] = []): Promise<Row[]> {
    this.#client ??= this.#connect()
    const { rows } = await (await this.#client).query<Row>(sql, [...params])
    return rows
  }

  async #connect(): Promise<Client> {
    const fresh = new Client({
      connectionString: this.#url,
      application_name: 'tidegate-dev',
      query_timeout: 60_000,
    })
    const forget = (): void => (this.#client = undefined)
    fresh.on('error', forget)
    fresh.on('end', forget)
    try {
      await fresh.connect()
    } catch (error) {
      forget()
      throw error
    }
    return fresh
  }
}

function params(filter: RunFilter): unknown[] {
  return [filter.position, filter.deviceIds.map((id) => `/devices/${id}`), filter.startedAtMs]
}

function spans(disturbances: readonly Disturbance[]): unknown[] {
  return [disturbances.map(({ fromMs }) => fromMs), disturbances.map(({ untilMs }) => untilMs)]
}

const nothing: LatencyRow = { count: 0, p50: 0, p99: 0 }

type PercentileRow = Record<string, string | number | null>

function rowOf(row: PercentileRow, prefix: string): LatencyRow {
  const read = (field: string): number => Number(row[`${prefix}_${field}`] ?? 0)
  return { count: read('count'), p50: Math.round(read('p50')), p99: Math.round(read('p99')) }
}

interface GroupRow {
  device: string
  type: string
  disposition: 'accepted' | 'rejected' | 'dead'
  why: string | null
  implausible: boolean | null
  count: string
}

function groupRows(rows: readonly GroupRow[]): RowCounts {
  const devices: Record<string, DeviceRows> = {}
  const byType: Record<string, number> = {}
  for (const { device, type, disposition, why, implausible, count } of rows) {
    const events = Number(count)
    const counts = (devices[device] ??= { accepted: 0, rejected: 0, dead: 0, implausible: 0, reasons: {} })
    counts[disposition] += events
    if (implausible === true) counts.implausible += events
    if (why !== null) counts.reasons[why] = (counts.reasons[why] ?? 0) + events
    byType[type] = (byType[type] ?? 0) + events
  }
  return { devices, byType }
}
