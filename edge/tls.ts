import type { Clock } from '../src/clock.ts'
import type { Logger } from '../src/log.ts'
import { allOf } from '../src/settings/all-of.ts'
import { isLoopback } from '../src/listen.ts'
import { type ClientTls, ClientTlsFiles, loadClientTls } from '../src/settings/client-tls.ts'
import type { KeyPair } from '../src/tls-files.ts'
import type { EdgeConfig } from './config.ts'
import { inClear, listenersOf } from './listeners.ts'
import { trustFiles } from './settings.ts'
import { type LoadedTrust, loadTrust } from './mqtt/trust/files.ts'
import { type Trust, trustParts } from './mqtt/trust/trust.ts'

export interface EdgeTls {
  mqtt: LoadedTrust
  /** What each new session shows and trusts. */
  uplink: ClientTlsFiles | undefined
}

const dayMs = 86_400_000
const uplinkFiles = 'the uplink (uplink.tls)'

/** What devices see, and who may be one. @throws TidegateError `TLS_*` | `CRL_*` | `DENIED_INVALID` | `START_FAULTS` */
export function loadMqttTrust(config: EdgeConfig, now: Date): Promise<LoadedTrust> {
  return loadTrust(trustFiles(config), now)
}

/** What the broker sees, and whom the uplink trusts. @throws TidegateError `TLS_*` */
export function loadUplinkTls({ uplink: { tls } }: EdgeConfig, now: Date): ClientTls | undefined {
  return tls && loadClientTls(tls, { where: uplinkFiles, now })
}

/** What is to be said of a development CA where others reach the listener: its key lies beside it, and signs any device. */
export function developmentCaWarning(
  { mqtt }: EdgeConfig,
  { issuer }: Pick<KeyPair, 'issuer'>,
): string | undefined {
  const open =
    [mqtt, ...mqtt.listeners].some(({ host }) => !isLoopback(host)) &&
    issuer.includes('Tidegate development CA')
  return open ? 'of a development CA, for trying out: see docs/CERTIFICATES.md' : undefined
}

/** @throws TidegateError `TLS_*` */
function uplinkTlsFiles(
  { uplink: { tls } }: EdgeConfig,
  clock: Clock,
  log: Logger,
): ClientTlsFiles | undefined {
  return tls && new ClientTlsFiles({ paths: tls, where: uplinkFiles, clock, log })
}

/** Both ends' files, proven before anything is opened. @throws TidegateError `TLS_*`, `CRL_*`, `DENIED_INVALID`, `START_FAULTS` */
export async function loadEdgeTls(config: EdgeConfig, clock: Clock, log: Logger): Promise<EdgeTls> {
  const now = new Date(clock.now())
  const { mqtt, uplink } = await allOf({
    mqtt: () => loadMqttTrust(config, now),
    uplink: () => uplinkTlsFiles(config, clock, log),
  })
  const pair = uplink?.current().pair
  const pairs = { mqtt: mqtt.pair, ...(pair && { uplink: pair }) }
  for (const [where, { warnings }] of Object.entries(pairs))
    for (const warning of warnings) log.warn({ where }, warning)
  const warning = developmentCaWarning(config, mqtt.pair)
  if (warning !== undefined) log.warn({ code: 'DEVELOPMENT_CA', where: 'mqtt' }, `a certificate ${warning}`)
  for (const listener of listenersOf(config))
    if (!listener.tls && !isLoopback(listener.host))
      log.warn({ code: 'LISTENER_IN_CLEAR', where: listener.key }, inClear(listener))
  return { mqtt, uplink }
}

/** What came down with the uplink: number 0 and age -1 where nothing has. */
export interface ListsState {
  number: number
  ageS: number
  /** How often something was refused. */
  refused: number
}

/** For whoever looks: how long what is in force will be, days of certificates and seconds of revocation lists, and what is faulty. */
export function tlsState(
  trust: Pick<Trust, 'inForce' | 'faulty' | 'refusedLists'>,
  uplink: ClientTlsFiles | undefined,
  clock: Pick<Clock, 'now'>,
): Record<'certificates' | 'crlSecondsLeft' | 'tlsFaulty', () => Record<string, number>> & {
  lists(): ListsState
} {
  return {
    lists() {
      const { published } = trust.inForce
      return {
        number: published?.number ?? 0,
        ageS: published === undefined ? -1 : (clock.now() - published.issuedMs) / 1000,
        refused: trust.refusedLists,
      }
    },
    certificates() {
      const pair = uplink?.current().pair
      const pairs = { mqtt: trust.inForce.pair, ...(pair && { uplink: pair }) }
      const nowMs = clock.now()
      return Object.fromEntries(Object.entries(pairs).map(([name, pair]) => [name, daysLeft(pair, nowMs)]))
    },
    crlSecondsLeft() {
      const { lists, published } = trust.inForce
      const all = Object.entries({ mqtt: lists, published: published?.lists })
      const left = all.flatMap(([where, one]) =>
        one ? [[where, (one.nextUpdateMs - clock.now()) / 1000] as const] : [],
      )
      return Object.fromEntries(left)
    },
    tlsFaulty: () => ({
      ...Object.fromEntries(trustParts.map((part) => [part, Number(trust.faulty.has(part))])),
      ...(uplink && { uplink: Number(uplink.faulty) }),
    }),
  }
}

function daysLeft({ notAfter }: KeyPair, nowMs: number): number {
  return (notAfter.getTime() - nowMs) / dayMs
}
