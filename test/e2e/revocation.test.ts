import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import { type Outcome, run } from '../../dev/servers/command.ts'
import { useFolder } from '../support/kept-folder.ts'
import { obtainClients } from '../support/packages.ts'

const cli = fileURLToPath(new URL('../../dist/cli/tidegate.js', import.meta.url))
const dir = useFolder('tidegate-revocation-')
const pki = join(dir, 'pki')
beforeAll(() => obtainClients('mosquitto_pub'), 120_000)

const tidegate = (...args: string[]): Promise<Outcome> =>
  run({ file: process.execPath, args: [cli, ...args] }, { timeoutMs: 15_000 })

const mosquittoPub = (port: number, device: string): Promise<Outcome> => {
  const files = ['--cafile', join(pki, 'ca.crt'), '--cert', join(pki, `devices/${device}.crt`)]
  const to = ['-h', 'localhost', '-p', String(port), ...files, '--key', join(pki, `devices/${device}.key`)]
  const what = ['-q', '1', '-t', `devices/${device}/events/com.acme.climate`, '-m', '{"temperature":21.5}']
  return run({ file: 'mosquitto_pub', args: [...to, ...what] }, { timeoutMs: 15_000 })
}

let gateways = 0

/** Writes a configuration of a gateway that needs nothing but its certificates, and returns the file. */
function configured(tls: object = {}): string {
  const config = join(dir, `edge-${(gateways += 1)}.yaml`)
  const files = { ca: 'pki/ca.crt', cert: 'pki/edge.crt', key: 'pki/edge.key', ...tls }
  const parts = { outbox: { reserve: 0 }, uplink: { url: 'amqp://127.0.0.1:1' }, ops: { port: 0 } }
  const gateway = { gateway: 'g', dataDir: `data-${gateways}`, mqtt: { port: 0, tls: files } }
  writeFileSync(config, JSON.stringify({ ...gateway, ...parts }))
  return config
}

/** What a program writes, until it has been there so often. */
function logOf(stream: Readable): {
  text: () => string
  logged: (text: string, times?: number) => Promise<void>
} {
  let log = ''
  stream.setEncoding('utf8').on('data', (text: string) => (log += text))
  return {
    text: () => log,
    async logged(text, times = 1) {
      while (log.split(text).length <= times) await once(stream, 'data')
    },
  }
}

test('with `certs revoke` a device is refused and another is not, SIGHUP reads it again, and the gateway has not stopped', async () => {
  await tidegate('certs', 'development', '--devices', '2', '--dir', pki)
  await tidegate('certs', 'revoke', '--dir', pki)
  const edge = spawn(process.execPath, [cli, 'edge', '--config', configured({ crl: 'pki/ca.crl' })], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(() => void edge.kill('SIGKILL'))
  const { text, logged } = logOf(edge.stdout)
  await logged('the edge is running')
  const port = Number(/"mqttPort":(\d+)/.exec(text())?.[1])
  expect(await mosquittoPub(port, 'sensor-001')).toMatchObject({ code: 0 })

  expect((await tidegate('certs', 'revoke', 'sensor-001', '--dir', pki)).stdout).toContain('revoked')
  await logged('were read again')
  expect(await mosquittoPub(port, 'sensor-001')).toMatchObject({ code: 7 })
  expect(text()).toMatch(/"reason":"revoked-certificate".*"deviceId":"sensor-001"/)
  // Nothing has changed since: nobody but the signal has it read once more.
  edge.kill('SIGHUP')
  await logged('were read again', 2)
  expect(await mosquittoPub(port, 'sensor-002')).toMatchObject({ code: 0 })
  edge.kill('SIGTERM')
  expect(await once(edge, 'close')).toEqual([0, null])
})

test.each([
  ['its input', '>&3'],
  ['its output', '< /dev/null'],
])('a gateway whose terminal, %s, is closed stops in good order', async (_, how) => {
  await tidegate('certs', 'development', '--devices', '1', '--dir', pki)
  const config = configured()
  const errors = `${config}.errors`
  const command = `exec ${process.execPath} ${cli} edge --config ${config} ${how} 2> ${errors}`
  // What the gateway inherits as its descriptor 3 is closed when it has ended.
  const terminal = spawn('script', ['-qec', command, '/dev/null'], {
    stdio: ['pipe', 'pipe', 'ignore', 'pipe'],
  })
  onTestFinished(() => void terminal.kill('SIGKILL'))
  const inherited = terminal.stdio[3] as Readable
  const { text, logged } = logOf(how === '>&3' ? inherited : (terminal.stdout as Readable))
  inherited.resume()
  await logged('the edge is running')
  const pid = Number(/"pid":(\d+)/.exec(text())?.[1])
  onTestFinished(({ task }) => void (task.result?.state === 'fail' && process.kill(pid, 'SIGKILL')))
  const door = config.replace(/edge-(\d+)\.yaml$/, 'data-$1/ops-door.json')
  expect(existsSync(door)).toBe(true)
  terminal.kill('SIGKILL')
  await once(inherited, 'close')
  // It takes it away when it stops, and who crashes leaves it. Node itself ends with an assertion: it cannot reset a terminal that has gone.
  expect(existsSync(door)).toBe(false)
  expect(readFileSync(errors, 'utf8')).not.toContain('tidegate:')
  const said = how === '>&3' ? /SIGHUP: the terminal has gone[^]*the edge has stopped/ : /the edge is running/
  expect(text()).toMatch(said)
})
