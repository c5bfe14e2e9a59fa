import { join } from 'node:path'
import type { Clock, Random } from '../src/clock.ts'
import { codeOf } from '../src/errors.ts'
import { aborted, createScope } from '../src/lifecycle.ts'
import type { Logger } from '../src/log.ts'
import { loadSchemas, noSchemas } from '../src/contract/schema-registry.ts'
import { createAdmission } from './admission/admission.ts'
import { startBroker } from './mqtt/broker-aedes.ts'
import type { EdgeConfig } from './config.ts'
import { prepareDataFolder } from './data-folder.ts'
import { diskWriteBytes } from './ops/disk-writes.ts'
import { rabbitExchange } from './uplink/exchange-rabbit.ts'
import { forward } from './uplink/forwarder.ts'
import { createOps } from './ops/ops.ts'
import { openOutbox } from './outbox/open.ts'
import { doorRoutes, newToken, opsUrl, writeDoor } from './outbox-tool/door.ts'
import { createRoutes } from './admission/routes.ts'
import { admissionSettings, brokerSettings, exchangeSettings, outboxSettings } from './settings.ts'
import { levelFolder } from './store/store-level.ts'
import { loadEdgeTls } from './tls.ts'
import { createTopicRules } from './admission/topics.ts'

export interface EdgeParts {
  clock: Clock
  random: Random
  log: Logger
  /** Stops the edge when aborted. */
  signal: AbortSignal
  /** Called once devices can connect. */
  onStarted?: (started: { mqttPort: number; opsPort: number }) => void
}

/**
 * Runs the edge until the signal is aborted, then settles what is under way.
 *
 *     devices ──MQTT──▶ broker ──▶ admission ──▶ outbox ──▶ forwarder ──AMQP──▶ exchange
 *                  ◀──PUBACK──────────── fsync ────┘ ◀──released───── proof ──────┘
 *
 * It stops from left to right: nothing more is taken, what is in flight gets a moment to be proven, and the outbox
 * writes what it was given. Nobody waits for an outbox whose disk fails: what it could not write is not acknowledged.
 * @throws TidegateError `TLS_*`, `SCHEMA_FOLDER`, `DATA_FOLDER_UNWRITABLE`, `OUTBOX_LOCKED`, `STORE_UNAVAILABLE`,
 *   `SESSIONS_UNAVAILABLE`, `PORT_TAKEN`, `LISTEN_FAILED`
 */
export async function runEdge(config: EdgeConfig, parts: EdgeParts): Promise<void> {
  const { gateway, dataDir } = config
  const { clock, random, log } = parts
  const surroundings = { clock, random, log }
  const failed = new AbortController()
  const stopping = AbortSignal.any([parts.signal, failed.signal])
  const scope = createScope()
  try {
    const tls = loadEdgeTls(config, clock, log)
    const { folder } = config.schemas
    const schemas = folder === undefined ? noSchemas : loadSchemas(folder)
    const admit = createAdmission({ ...admissionSettings(config), schemas, clock, random })
    const routes = createRoutes(config.routes)
    const rules = createTopicRules({
      subscribe: config.mqtt.subscribe,
      routed: (deviceId, topic) => routes.match(deviceId, topic) !== undefined,
    })

    const token = newToken()
    const ops = createOps({
      host: config.ops.host,
      port: config.ops.port,
      stallAfterMs: config.ops.stallAfter,
      reconnectMsMax: config.uplink.reconnect.max,
      offlineMaxMs: config.uplink.offlineMax,
      stats: () => outbox.stats(),
      certificates: tls.daysLeft,
      diskWriteBytes,
      routes: doorRoutes({
        outbox: () => outbox,
        stats: () => outbox.stats(),
        usedBytes: () => outboxFolder.usedBytes(),
        token,
        clock,
      }),
      clock,
    })
    await prepareDataFolder(dataDir)
    const outboxFolder = levelFolder({
      folder: join(dataDir, 'outbox'),
      reserveBytes: config.outbox.reserve,
      clock,
    })
    const outbox = scope.own(
      await openOutbox({
        ...outboxSettings(config),
        ...surroundings,
        folder: outboxFolder,
        gateway,
        observer: ops.outbox,
        signal: stopping,
      }),
    )
    const opsServer = scope.own(await ops.start())
    scope.own(await writeDoor(dataDir, { url: opsUrl(config.ops.host, opsServer.port), token }))

    const uplink = exchangeSettings(config)
    const exchange = rabbitExchange({ ...uplink, ...surroundings, tls: tls.uplink, gateway })
    scope.own(
      background(
        (signal) =>
          forward(
            {
              ...surroundings,
              outbox,
              exchange,
              observer: ops.forwarder,
              windowEvents: config.uplink.windowEvents,
              confirmTimeoutMs: config.uplink.confirmTimeout,
              retry: uplink.reconnect,
            },
            signal,
          ),
        (error) => failed.abort(error),
      ),
    )

    const broker = scope.own(
      await startBroker({
        ...brokerSettings(config),
        ...surroundings,
        tls: tls.mqtt,
        sessionsFolder: join(dataDir, 'sessions'),
        rules,
        routes,
        admit,
        outbox,
        observer: ops.broker,
      }),
    )
    ops.listening(broker.port)
    log.info({ mqttPort: broker.port, opsPort: opsServer.port, dataDir }, 'the edge is running')
    parts.onStarted?.({ mqttPort: broker.port, opsPort: opsServer.port })

    await aborted(stopping)
    failed.signal.throwIfAborted()
  } catch (error) {
    // Stopped while it waited for a disk that fails: it is not open yet, and nothing was taken.
    if (!parts.signal.aborted || codeOf(error) !== 'OUTBOX_CLOSED') throw error
  } finally {
    await scope.close()
  }
  log.info('the edge has stopped')
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
