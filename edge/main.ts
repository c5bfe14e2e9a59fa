import { refuseInClear } from '../src/settings/in-clear.ts'
import { withPassword } from '../src/settings/password-file.ts'
import type { Clock, Random } from '../src/clock.ts'
import { listsQueue } from '../src/contract/wire.ts'
import type { SchemasUsed } from '../src/contract/schemas-used.ts'
import { codeOf, messageOf } from '../src/errors.ts'
import { aborted, createScope } from '../src/lifecycle.ts'
import type { Logger } from '../src/log.ts'
import { allOf } from '../src/settings/all-of.ts'
import { type Admit, createAdmission } from './admission/admission.ts'
import type { Decode } from './admission/codecs/decode.ts'
import { loadDecoders } from './admission/codecs/route-decoders.ts'
import { createIngest } from './admission/ingest.ts'
import { createRoutes, type Route, type Routes } from './admission/routes/routes.ts'
import { createTopicRules, type TopicRules } from './admission/routes/topics.ts'
import type { EdgeConfig } from './config.ts'
import { opennessOf, prepareDataFolder } from './data-folder.ts'
import { startBroker } from './mqtt/broker-aedes.ts'
import { startTrust, type Trust } from './mqtt/trust/trust.ts'
import { diskWriteBytes } from './ops/disk-writes.ts'
import { createOps } from './ops/ops.ts'
import { openOutbox } from './outbox/open.ts'
import { Schemas } from './schemas/schemas.ts'
import type { Outbox, OutboxStats } from './outbox/outbox.ts'
import { doorRoutes, newToken, opsUrl, writeDoor } from './outbox-tool/door.ts'
import {
  admissionSettings,
  brokerSettings,
  decodeBounds,
  exchangeSettings,
  forwarderSettings,
  opsSettings,
  outboxFolderSettings,
  outboxSettings,
  schemasSettings,
  trustSettings,
  uplinkWay,
} from './settings.ts'
import { checkpointSigner } from './signing.ts'
import { levelFolder } from './store/store-level.ts'
import { tlsState, loadEdgeTls } from './tls.ts'
import { rabbitExchange } from './uplink/exchange-rabbit.ts'
import { forward } from './uplink/forwarder.ts'
import type { ListsFollower } from './uplink/lists-rabbit.ts'

export interface EdgeParts {
  clock: Clock
  random: Random
  log: Logger
  /** Stops the edge when aborted. */
  signal: AbortSignal
  /** Called once devices can connect. */
  onStarted?: (started: StartedEdge) => void
}

export interface StartedEdge {
  /** Of the first listener. */
  mqttPort: number
  /** Of each listener, in their order. */
  mqttPorts: readonly number[]
  opsPort: number
  /** Reads the files of `mqtt.tls` again, ends the connections of those who may no longer come in, and reads schemas again, or asks for them. Never rejects. */
  reload: () => Promise<void>
}

/**
 * Runs the edge until the signal is aborted, then settles what is under way.
 *
 *     devices ──MQTT──▶ broker ──▶ admission ──▶ outbox ──▶ forwarder ──AMQP──▶ exchange
 *                  ◀──PUBACK──────────── fsync ────┘ ◀──released───── proof ──────┘
 *
 * The edge stops from left to right: nothing more is taken, what is in flight gets a moment to be proven, and the outbox
 * writes what it was given. Nobody waits for an outbox whose disk fails: what it could not write is not acknowledged.
 * @throws TidegateError `TLS_*`, `CRL_*`, `DENIED_INVALID`, `USERS_*`, `CHECKPOINT_KEY`, `SCHEMA_FOLDER`, `SCHEMA_SNAPSHOT`, `SCHEMA_SNAPSHOT_MISSING`, `PAYLOAD_SCHEMA`, `START_FAULTS`, `DATA_FOLDER_UNWRITABLE`, `OUTBOX_LOCKED`, `STORE_UNAVAILABLE`, `STORE_NEWER`,
 *   `SESSIONS_UNAVAILABLE`, `PORT_TAKEN`, `LISTEN_FAILED`
 */
export async function runEdge(
  config: EdgeConfig,
  { signal, onStarted, ...surroundings }: EdgeParts,
): Promise<void> {
  const { gateway, dataDir } = config
  const { clock, log } = surroundings
  const failed = new AbortController()
  const stopping = AbortSignal.any([signal, failed.signal])
  const scope = createScope()
  try {
    const { tls, schemas, decoders } = await allOf({
      tls: () => loadEdgeTls(config, clock, log),
      schemas: async () => scope.own(await Schemas.load({ ...schemasSettings(config), ...surroundings })),
      decoders: () => loadDecoders(config.routes, decodeBounds(config)),
      uplink: () => refuseInClear(uplinkWay(config), log),
      password: () => withPassword(config.uplink.url, config.uplink.passwordFile),
      dataFolder: () => prepareDataFolder(dataDir),
    })
    const way = wayToAnEvent(config, schemas, decoders, surroundings)
    const openness = await opennessOf(dataDir)
    if (openness !== undefined) log.warn({ code: 'DATA_FOLDER_OPEN' }, openness)
    const trust = scope.own(startTrust({ ...trustSettings(config), ...surroundings, loaded: tls.mqtt }))
    const folder = levelFolder({ ...outboxFolderSettings(config), clock })
    const token = newToken()
    const stats = (): OutboxStats => outbox.stats()
    const door = { outbox: () => outbox, stats, usedBytes: () => folder.usedBytes(), token, clock }
    const now = { ...tlsState(trust, tls.uplink, clock), schemas }
    const seen = { stats, ...now, diskWriteBytes, routes: doorRoutes(door), clock }
    const ops = createOps({ ...opsSettings(config), ...seen })

    const checkpoints = checkpointSigner(config, tls.uplink?.current())
    const kept = { folder, gateway, checkpoints, observer: ops.outbox, signal: stopping }
    const outbox = scope.own(await openOutbox({ ...outboxSettings(config), ...surroundings, ...kept }))
    schemas.follow((used) => noteSchemas(outbox, used, log))
    const opsServer = scope.own(await ops.start())
    scope.own(await writeDoor(dataDir, { url: opsUrl(config.ops.host, opsServer.port), token }))

    const lists = listsFollower(config, trust)
    const reached = { ...exchangeSettings(config), ...surroundings, tls: tls.uplink, gateway, lists }
    const carried = { ...surroundings, outbox, exchange: rabbitExchange(reached), observer: ops.forwarder }
    const forwarding = background(
      (until) => forward({ ...forwarderSettings(config), ...carried }, until),
      (error) => failed.abort(error),
    )
    scope.own(forwarding)

    const ingest = createIngest({ ...way, ...surroundings, outbox, observer: ops.broker })
    const devices = { trust, rules: way.rules, ingest, observer: ops.broker }
    const broker = scope.own(await startBroker({ ...brokerSettings(config), ...surroundings, ...devices }))
    ops.listening(broker.ports)
    const ports = { mqttPort: broker.port, mqttPorts: broker.ports, opsPort: opsServer.port }
    log.info({ ...ports, dataDir }, 'the edge is running')
    onStarted?.({ ...ports, reload: reloading(trust, schemas) })

    await aborted(stopping)
    failed.signal.throwIfAborted()
  } catch (error) {
    // Stopped while it waited for a disk that fails: the outbox is not open yet, and nothing was taken.
    if (!signal.aborted || codeOf(error) !== 'OUTBOX_CLOSED') throw error
  } finally {
    await scope.close()
  }
  log.info('the edge has stopped')
}

/** Who wants the lists that come down with the uplink, if they are asked for. */
function listsFollower({ gateway, uplink }: EdgeConfig, trust: Trust): ListsFollower | undefined {
  return uplink.lists ? { queue: listsQueue(gateway), take: (json) => trust.take(json) } : undefined
}

function reloading(trust: Pick<Trust, 'reload'>, schemas: Pick<Schemas, 'reload'>): () => Promise<void> {
  return async () => {
    await Promise.all([trust.reload(), schemas.reload()])
  }
}

/** Nobody waits for it: it takes its place before whatever is judged by them, and is said again at the next start if it is lost. */
function noteSchemas(outbox: Pick<Outbox, 'judgedBy'>, used: SchemasUsed, log: Logger): void {
  outbox.judgedBy(used).catch((error: unknown) => {
    if (codeOf(error) !== 'OUTBOX_CLOSED')
      log.error(
        { code: codeOf(error) },
        `the ledger does not say which schemas are in use: ${messageOf(error)}`,
      )
  })
}

/** Who may publish what, which of it is an event, and which event. */
function wayToAnEvent(
  config: EdgeConfig,
  schemas: Schemas,
  decoders: ReadonlyMap<Route, Decode>,
  { clock, random }: Pick<EdgeParts, 'clock' | 'random'>,
): { rules: TopicRules; routes: Routes; admit: Admit } {
  const routes = createRoutes(config.routes, decoders)
  return {
    routes,
    rules: createTopicRules({
      subscribe: config.mqtt.subscribe,
      isRouted: (deviceId, topic) => routes.match(deviceId, topic) !== undefined,
      isIgnored: (deviceId, topic) => routes.ignores(deviceId, topic),
    }),
    admit: createAdmission({ ...admissionSettings(config), checkSchema: schemas.check, clock, random }),
  }
}

/** A task that runs until it is closed; if it ends with an error before, `onFailed` is told. */
function background(
  run: (signal: AbortSignal) => Promise<void>,
  onFailed: (error: unknown) => void,
): { close(): Promise<void> } {
  const stop = new AbortController()
  const running = run(stop.signal).catch(onFailed)
  return {
    async close() {
      stop.abort()
      await running
    },
  }
}
