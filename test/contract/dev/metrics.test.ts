import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { scrape } from '../../../dev/watch/scrape.ts'

test('a program that takes the connection and never answers is given up, whatever is collected meanwhile', async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const silent = createServer(() => {})
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  const collecting = setInterval(collect, 50)
  const { port } = silent.address() as AddressInfo
  try {
    expect(await scrape(`http://127.0.0.1:${port}/metrics`, new AbortController().signal)).toBeUndefined()
  } finally {
    clearInterval(collecting)
    silent.closeAllConnections()
    silent.close()
  }
}, 10_000)
