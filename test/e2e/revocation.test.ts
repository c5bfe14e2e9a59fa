import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
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

test('with `certs revoke` and SIGHUP a device is refused, another is not, and the gateway has not stopped', async () => {
  await tidegate('certs', 'development', '--devices', '2', '--dir', pki)
  await tidegate('certs', 'revoke', '--dir', pki)
  const config = join(dir, 'edge.yaml')
  const tls = { ca: 'pki/ca.crt', cert: 'pki/edge.crt', key: 'pki/edge.key', crl: 'pki/ca.crl' }
  const parts = { outbox: { reserve: 0 }, uplink: { url: 'amqp://127.0.0.1:1' }, ops: { port: 0 } }
  writeFileSync(config, JSON.stringify({ gateway: 'g', mqtt: { port: 0, tls }, ...parts }))
  const edge = spawn(process.execPath, [cli, 'edge', '--config', config], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(() => void edge.kill('SIGKILL'))
  let log = ''
  edge.stdout.setEncoding('utf8').on('data', (text: string) => (log += text))
  const logged = async (text: string): Promise<void> => {
    while (!log.includes(text)) await once(edge.stdout, 'data')
  }
  await logged('the edge is running')
  const port = Number(/"mqttPort":(\d+)/.exec(log)?.[1])
  expect(await mosquittoPub(port, 'sensor-001')).toMatchObject({ code: 0 })

  expect((await tidegate('certs', 'revoke', 'sensor-001', '--dir', pki)).stdout).toContain('revoked')
  edge.kill('SIGHUP')
  await logged('were read again')
  const refused = await mosquittoPub(port, 'sensor-001')
  expect(refused.code).not.toBe(0)
  expect(log).toMatch(/"reason":"revoked-certificate".*"deviceId":"sensor-001"/)
  expect(await mosquittoPub(port, 'sensor-002')).toMatchObject({ code: 0 })
  expect(edge.exitCode).toBe(null)
  edge.kill('SIGTERM')
  expect(await once(edge, 'close')).toEqual([0, null])
})
