import { beforeAll } from 'vitest'
import { type RawConnection, type RawOptions, rawConnection } from './raw-connection.ts'
import type { TestBroker, TestPki } from './test-broker.ts'

export interface RawDevice {
  /** A connection of the device, made by hand. */
  raw: (broker: TestBroker, clientId: string, more?: Partial<RawOptions>) => Promise<RawConnection>
  /** The same, in a session that is kept. */
  kept: (broker: TestBroker, clientId: string) => Promise<RawConnection>
}

/** The device `a1` of the file's tests. */
export function useRawDevice(pki: TestPki): RawDevice {
  let tls: RawOptions['tls']
  beforeAll(async () => {
    tls = await pki.device('a1')
  })
  const raw: RawDevice['raw'] = ({ port }, clientId, more = {}) =>
    rawConnection({ port, tls, clientId, ...more })
  return { raw, kept: (broker, clientId) => raw(broker, clientId, { clean: false }) }
}

/** Bounds of sessions that no test meets that does not set its own. */
export const roomy = {
  queuedMax: 100,
  subscriptionsPerDeviceMax: 100,
  retainedMax: 100,
  retainedPerDeviceMax: 100,
  bytesPerDeviceMax: 1 << 28,
  unreleasedPerDeviceMax: 100,
}
