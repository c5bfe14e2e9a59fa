import { bothLanes } from '../outbox/outbox.ts'
import type { OldestEvent } from '../outbox/look/oldest-event.ts'
import type { DeviceInspection } from '../outbox/look/survey.ts'
import type { Queue, QueueReport } from './queue.ts'

/** A queue as a person reads it. */
export function renderReport(
  { running, findings }: Pick<Queue, 'running' | 'findings'>,
  report: QueueReport,
  drain: { eventsPerSecond: number; drainedInS?: number } | undefined,
): string {
  const { lanes, devices, deviceCount, unreported, damagedRecords } = report
  const lines = [
    ...findings.map((finding) => `DAMAGED     ${finding}`),
    `gateway     ${report.gateway}, ${running ? 'running' : 'stopped'}`,
    `epoch       ${report.epoch}, last sequence ${report.lastSequence}`,
    `on disk     ${bytes(report.diskBytes)}, ${report.rememberedIds} event IDs remembered`,
  ]
  for (const lane of bothLanes) {
    const { events, bytes: size, oldest } = lanes[lane]
    lines.push(`${lane.padEnd(11)} ${events} events, ${bytes(size)}`)
    if (oldest) {
      lines.push(
        `            oldest: sequence ${oldest.sequence}, ${oldest.deviceId}, ${oldest.type}, ${ageOf(oldest)} old`,
      )
    }
  }
  if (report.inFlight !== undefined) lines.push(`in flight   ${report.inFlight}`)
  if (report.waiting)
    lines.push(`waiting     ${report.waiting} submissions, held back by: ${report.refusing ?? 'nothing now'}`)
  const queued = lanes.high.events + lanes.normal.events
  if (drain) lines.push(`drain       ${queued === 0 ? 'nothing is queued' : rate(drain)}`)
  if (unreported.length > 0) {
    const count = unreported.reduce((sum, { from, to }) => sum + to - from + 1, 0)
    lines.push(`unreported  ${count} events that will not be delivered, in ${unreported.length} ranges`)
  }
  if (damagedRecords > 0) lines.push(`damaged     ${damagedRecords} records, set aside inside the store`)
  if (devices.length > 0) lines.push('', ...table(devices, deviceCount))
  return lines.join('\n')
}

function table(devices: readonly DeviceInspection[], deviceCount: number): string[] {
  const widest = Math.max(...devices.map(({ deviceId }) => deviceId.length), 'device'.length)
  const row = (device: string, high: string, normal: string, size: string, oldest: string): string =>
    `  ${device.padEnd(widest)} ${high.padStart(10)} ${normal.padStart(10)} ${size.padStart(12)}  ${oldest}`
  return [
    `devices     ${deviceCount} have something queued`,
    row('device', 'high', 'normal', 'bytes', 'oldest'),
    ...devices.map(({ deviceId, events, bytes: size, lanes, oldest }) =>
      row(
        deviceId,
        lanes ? String(lanes.high.events) : '',
        lanes ? String(lanes.normal.events) : `${events} in all`,
        bytes(size),
        oldest ? ageOf(oldest) : 'not among the oldest',
      ),
    ),
  ]
}

function ageOf({ ageMs, ageAtLeast }: OldestEvent): string {
  return ageAtLeast ? `at least ${age(ageMs)}` : age(ageMs)
}

function rate({ eventsPerSecond, drainedInS }: { eventsPerSecond: number; drainedInS?: number }): string {
  const perSecond = Math.round(Math.abs(eventsPerSecond))
  if (drainedInS !== undefined) return `${perSecond} events/s, empty in about ${age(drainedInS * 1000)}`
  return eventsPerSecond === 0 ? 'the depth does not change' : `the queue grows by ${perSecond} events/s`
}

function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, count)) / 10))
  return `${power === 0 ? count : (count / 1024 ** power).toFixed(1)} ${units[power]}`
}

function age(ms: number): string {
  const seconds = Math.round(ms / 1000)
  if (seconds < 120) return `${seconds} s`
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} d`
}

/** What a repair says of acknowledged events: never more than is known. */
export function renderLoss({ lost, unsureMax }: { lost: number; unsureMax: number | null }): string {
  const known =
    lost === 0
      ? 'none that had been acknowledged is known to be lost'
      : `${lost} that had been acknowledged ${lost === 1 ? 'is' : 'are'} lost, and the cloud will be told which`
  if (unsureMax === 0) return lost === 0 ? 'none that had been acknowledged is lost' : known
  const atMost = lost === 0 ? known : `at the most ${known}`
  if (unsureMax === null)
    return `${atMost}; whether the newest writes before the power failed held others is not known: compare with what the devices sent`
  return `${known}; up to ${unsureMax} more may be, if the disk did not keep its word when the power failed`
}
