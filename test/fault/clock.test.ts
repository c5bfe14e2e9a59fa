import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { beforeAll, describe, expect, it } from 'vitest'
import { demoTypes } from '../../dev/sensors.ts'
import { installPackages } from '../../dev/servers/install.ts'
import { useRig } from './rig.ts'

const triplets: Record<string, string> = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' }
const library = `/usr/lib/${triplets[process.arch] ?? process.arch}/faketime/libfaketime.so.1`
/** libfaketime reads the offset from here again and again: writing it moves the clock of what runs. */
const offsetFile = join(mkdtempSync(join(tmpdir(), 'tidegate-clock-')), 'offset')

function moveClock(offset: string): void {
  writeFileSync(offsetFile, `${offset}\n`)
}

describe('a gateway whose wall clock is moved by days', () => {
  beforeAll(async () => {
    moveClock('+0')
    if (!existsSync(library)) {
      await installPackages({ title: 'libfaketime', names: ['libfaketime'], units: [] }, { say: () => {} })
    }
  }, 120_000)

  const rig = useRig({
    env: {
      ...process.env,
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: offsetFile,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    },
    edgeConfig: {
      events: { types: { [demoTypes.climate]: { ttl: '1h' }, [demoTypes.vibration]: { ttl: '1h' } } },
    },
  })

  it('expires nothing because of it, restamps nothing, and puts the correction on record', async () => {
    const run = await rig.run({ eventsPerSecond: 200 })
    rig.link.set({ kind: 'down' })
    await run.until('events wait in the outbox', ({ buffered }) => buffered > 400)
    moveClock('+10d')
    await run.until('the edge has seen it', () =>
      /the wall clock was moved/.test(readFileSync(rig.stack.logs.edge, 'utf8')),
    )
    moveClock('+0')
    await run.until(
      'the edge has seen it go back',
      () => readFileSync(rig.stack.logs.edge, 'utf8').split('the wall clock was moved').length > 2,
    )
    rig.link.set({ kind: 'up' })
    await run.balanced()
    const client = new Client(rig.stack.databaseUrl)
    await client.connect()
    const { rows } = await client.query<{ data: { offsetMs: number } }>(
      `select body->'data' as data from tidegate.events
       where type = 'dev.tidegate.ledger' and body->'data'->>'kind' = 'clock-corrected' order by position`,
    )
    await client.end()
    const days = rows.map(({ data }) => Math.round(data.offsetMs / 86_400_000))
    expect(days).toEqual([10, -10])
  }, 120_000)
})
