import { type ChildProcess, fork } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { setTimeout as delay } from 'node:timers/promises'
import type { DevelopmentPki } from '../../../certs/development.ts'
import { obtainRabbit, type RabbitServer } from '../../../dev/servers/obtain.ts'
import { freePort, isFree } from '../../../dev/servers/ports.ts'
import type { Bench } from '../../run/case.ts'
import { cpuMicrosOf } from '../../run/process.ts'
import { fleetOf, untilConnack } from '../../subjects/device.ts'
import { numberOf } from '../../subjects/packets.ts'
import { type Mosquitto, startMosquitto } from '../../subjects/references.ts'
import type { BareEndTask } from '../../workers/bare-end.ts'
import type { Arrival, Way } from './way.ts'

const all = { configure: '.*', write: '.*', read: '.*' }
const consumerFile = fileURLToPath(new URL('../../workers/bare-end.js', import.meta.url))

/** What people do today: Mosquitto, its bridge, RabbitMQ's MQTT plugin, one quorum queue, a consumer without a database. */
export async function startBridgedWay(bench: Bench, pki: DevelopmentPki, name: string): Promise<Way> {
  const { dir, scope, say } = bench
  const bridgePort = await freePort()
  const rabbit = await startRabbit(bench, pki, bridgePort)
  const place = join(dir, 'mosquitto')
  const lines = bridgeLines(pki, bridgePort)
  let mosquitto: Mosquitto = await startMosquitto(place, pki, { lines })
  scope.own({ close: () => mosquitto.close() })
  const { port } = mosquitto
  const end = createEnd({
    url: rabbit.tlsUrlFor('consumer'),
    caFile: pki.caFile,
    certFile: pki.cloud.certFile,
    keyFile: pki.cloud.keyFile,
  })
  scope.own(end)
  await end.start()
  const fleet = fleetOf(pki)
  await untilConnack(port, fleet)
  say('  Mosquitto, RabbitMQ and a consumer are ready')
  return {
    name,
    mqttPort: port,
    fleet,
    cpuMicros: () =>
      [mosquitto.pid, rabbit.pid, end.pid].reduce<number>((sum, pid) => sum + cpuMicrosOf(pid ?? 0), 0),
    mark: () => Promise.resolve(end.arrivals.clear()),
    count: () => Promise.resolve(end.arrivals.size),
    arrivals: () => Promise.resolve(new Map(end.arrivals)),
    probe: { url: rabbit.urlFor('bench'), exchange: 'amq.topic', routingKey: '#' },
    parts: {
      site: {
        name: 'Mosquitto',
        kill: () => mosquitto.kill(),
        async start() {
          mosquitto = await startMosquitto(place, pki, { port, lines })
          await untilConnack(port, fleet)
        },
      },
      broker: { name: 'RabbitMQ', kill: () => rabbit.kill(), start: () => rabbit.start() },
      end: { name: 'consumer', kill: () => end.kill(), start: () => end.start() },
    },
  }
}

async function startRabbit(
  { dir, scope, say }: Bench,
  pki: DevelopmentPki,
  mqttPort: number,
): Promise<RabbitServer> {
  const obtained = await obtainRabbit({
    dir: join(dir, 'rabbit-mqtt'),
    users: ['bench', 'bridge', 'consumer'].map((name) => ({ name, password: name, permissions: all })),
    tls: { caFile: pki.caFile, certFile: pki.broker.certFile, keyFile: pki.broker.keyFile },
    plugins: ['rabbitmq_mqtt'],
    extraConfig: `mqtt.listeners.tcp = none\nmqtt.listeners.ssl.1 = 127.0.0.1:${mqttPort}\nmqtt.allow_anonymous = false\n`,
    env: {},
    say,
  })
  if (obtained.how === 'given') throw new Error('a bench measures on servers of its own')
  const server = scope.own(obtained.server)
  if (await isFree(mqttPort))
    throw new Error(
      'RabbitMQ’s MQTT plugin does not listen here; a RabbitMQ in Docker keeps it to itself: apt-get install rabbitmq-server (Debian’s package)',
    )
  return server
}

/** `try_private` and `notifications` ask for what RabbitMQ's plugin does not know, and it ends the connection. */
function bridgeLines({ caFile, gateway }: DevelopmentPki, port: number): string[] {
  return [
    'persistence true',
    'connection cloud',
    `address 127.0.0.1:${port}`,
    `bridge_cafile ${caFile}`,
    `bridge_certfile ${gateway.certFile}`,
    `bridge_keyfile ${gateway.keyFile}`,
    'bridge_protocol_version mqttv311',
    'remote_clientid bridge',
    'remote_username bridge',
    'remote_password bridge',
    'cleansession false',
    'try_private false',
    'notifications false',
    'restart_timeout 1',
    'topic devices/# out 1',
  ]
}

/** The consumer: a process that tells every event's ID before it acknowledges it. */
function createEnd(task: BareEndTask) {
  const arrivals = new Map<number, Arrival>()
  let child: ChildProcess | undefined

  async function start(): Promise<void> {
    const started = fork(consumerFile, { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] })
    child = started
    if (started.stdout) createInterface({ input: started.stdout }).on('line', take)
    started.send(task)
    await new Promise<void>((resolve, reject) => {
      started.once('message', () => resolve())
      started.once('exit', () => reject(new Error('the bare consumer did not start')))
    })
    // Its bindings are made; what Mosquitto kept while there was no queue is gone by now.
    await delay(200)
  }

  function take(id: string): void {
    const atMs = Date.now()
    const number = numberOf(id)
    const former = arrivals.get(number)
    if (former) former.times += 1
    else arrivals.set(number, { atMs, times: 1 })
  }

  async function end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const ending = child
    child = undefined
    if (!ending) return
    // What it had told before it died is still read: `close` comes after that.
    const closed = new Promise<void>((resolve) => ending.once('close', () => resolve()))
    ending.kill(signal)
    await closed
  }
  return {
    arrivals,
    get pid() {
      return child?.pid
    },
    start,
    kill: () => end('SIGKILL'),
    close: () => end('SIGTERM'),
  }
}
