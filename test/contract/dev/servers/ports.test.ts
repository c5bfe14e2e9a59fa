import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { freePort } from '../../../../dev/servers/ports.ts'
import { keepPort } from '../../../../dev/servers/state.ts'

test('a port handed out is free, not handed out twice, and no client can be given it as its own', async () => {
  const ports = await Promise.all(Array.from({ length: 50 }, freePort))
  expect(new Set(ports).size).toBe(ports.length)
  const floor = Number(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split(/\s+/)[0])
  expect(Math.max(...ports)).toBeLessThan(floor)
})

test('a data folder keeps its port until somebody else has taken it', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'tidegate-ports-'))
  const port = await keepPort(dir, 'amqp')
  expect(await keepPort(dir, 'amqp')).toBe(port)
  const taker = createServer()
  await new Promise<void>((resolve) => taker.listen(port, '127.0.0.1', resolve))
  expect((taker.address() as AddressInfo).port).toBe(port)
  expect(await keepPort(dir, 'amqp')).not.toBe(port)
  taker.close()
  rmSync(dir, { recursive: true })
})
