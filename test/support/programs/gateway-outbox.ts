import { join } from 'node:path'
import { doorRoutes, newToken, opsUrl, writeDoor } from '../../../edge/outbox-tool/door.ts'
import { levelFolder } from '../../../edge/store/store-level.ts'
import { systemClock as clock } from '../../../src/clock.ts'
import { startOpsServer } from '../../../src/ops-server.ts'
import { openTestOutbox } from '../edge/test-outbox.ts'

/**
 * A gateway's outbox and its side of the door, as edge/main.ts opens it. Argument: the data folder. Prints the URL of
 * its ops endpoint, and stops in order when its standard input ends.
 */
const [dataDir = ''] = process.argv.slice(2)

const outbox = await openTestOutbox({
  folder: levelFolder({ folder: join(dataDir, 'outbox'), reserveBytes: 0, clock }),
  clock,
})
const token = newToken()
const server = await startOpsServer({
  host: '127.0.0.1',
  port: 0,
  metrics: async () => '',
  ready: () => ({}),
  routes: doorRoutes({
    outbox: () => outbox,
    stats: () => outbox.stats(),
    usedBytes: async () => 7,
    token,
    clock,
  }),
})
const url = opsUrl('127.0.0.1', server.port)
const door = await writeDoor(dataDir, { url, token })

async function stop(): Promise<void> {
  await server.close()
  await door.close()
  await outbox.close()
}

process.stdin.resume().once('end', () => void stop())
console.log(url)
