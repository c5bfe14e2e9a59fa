import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { afterAll, describe, expect, test } from 'vitest'
import { openAuthority } from '../../certs/authority.ts'
import { renewCertificate } from '../../certs/fleet.ts'
import { scrape } from '../../dev/watch/scrape.ts'
import { systemClock } from '../../src/clock.ts'
import { useRig } from './rig.ts'

const eventsPerSecond = 1000
const devices = 20

const folder = mkdtempSync(join(tmpdir(), 'tidegate-denied-'))
const denied = join(folder, 'denied')
writeFileSync(denied, 'end\n')
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const rig = useRig({ edgeConfig: { mqtt: { tls: { denied } } } })

/** What the listener shows to who comes now. */
async function shownByListener(): Promise<string> {
  const { host, port, caFile } = rig.stack.mqtt
  const socket = connect({ host, port, servername: 'localhost', ca: readFileSync(caFile) })
  socket.on('error', () => {})
  await once(socket, 'secureConnect')
  const serial = socket.getPeerX509Certificate()?.serialNumber ?? ''
  socket.destroy()
  return serial
}

async function metric(
  ops: string | undefined,
  name: string,
  labels?: Record<string, string>,
): Promise<number | undefined> {
  return (await scrape(`${ops}/metrics`, AbortSignal.timeout(5000)))?.value(name, labels)
}

const serialIn = (file: string): string => new X509Certificate(readFileSync(file)).serialNumber

describe('while 1,000 events/s arrive', () => {
  test('certificates of both hops are renewed: nothing is lost, and no device loses its session (G1)', async () => {
    const run = await rig.run({ eventsPerSecond, devices })
    let fewest = devices
    await run.until('all devices are there', ({ connected }) => connected === devices)
    const watching = run.until('never', ({ connected }) => {
      fewest = Math.min(fewest, connected)
      return false
    })
    watching.catch(() => {})
    const { pki, edgeOps, cloudOps } = rig.stack
    const authority = await openAuthority(pki.authority.dir)
    const before = serialIn(pki.edge.certFile)
    for (const { certFile } of [pki.edge, pki.gateway, pki.cloud])
      await renewCertificate(authority, certFile, { days: 400 })
    const renewed = serialIn(pki.edge.certFile)
    expect(renewed).not.toBe(before)
    while ((await shownByListener()) !== renewed) await systemClock.sleep(100)

    rig.link.set({ kind: 'down' })
    await run.until('the uplink is down', ({ uplinkUp }) => !uplinkUp)
    rig.link.set({ kind: 'up' })
    await run.until('the uplink is up', ({ uplinkUp }) => uplinkUp)
    expect(
      await metric(edgeOps, 'tidegate_edge_certificate_days_left', { certificate: 'uplink' }),
    ).toBeCloseTo(400, 0)
    expect(await metric(cloudOps[0], 'tidegate_cloud_certificate_days_left')).toBeCloseTo(400, 0)
    expect(await metric(cloudOps[0], 'tidegate_cloud_tls_faulty')).toBe(0)
    await run.balanced()
    expect(fewest).toBe(devices)
  }, 180_000)

  test('a device that is denied is off within 5 s, no other is, and it comes back when it is let in again', async () => {
    const run = await rig.run({ eventsPerSecond, devices })
    await run.until('all devices are there', ({ connected }) => connected === devices)
    const startedMs = systemClock.monotonicMs()
    writeFileSync(denied, 'device sensor-003\nend\n')
    await run.until('one is off', ({ connected }) => connected < devices)
    expect(systemClock.monotonicMs() - startedMs).toBeLessThan(5_000)
    const { acknowledged } = await run.until('others go on', (snapshot) => snapshot.connected === devices - 1)
    await run.until('events are acknowledged', (snapshot) => snapshot.acknowledged > acknowledged + 1000)
    expect(
      await metric(rig.stack.edgeOps, 'tidegate_edge_connections_ended_total', { reason: 'denied' }),
    ).toBe(1)
    writeFileSync(denied, 'end\n')
    await run.until('it is back', ({ connected }) => connected === devices)
    await run.balanced()
  }, 180_000)
})
