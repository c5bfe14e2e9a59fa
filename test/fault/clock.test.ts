import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { beforeAll, describe, expect, test } from 'vitest'
import { demoTypes } from '../../dev/fleet/sensors.ts'
import { installPackages } from '../../dev/servers/install.ts'
import { useRig } from './rig.ts'

const triplets: Record<string, string> = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' }
const library = `/usr/lib/${triplets[process.arch] ?? process.arch}/faketime/libfaketime.so.1`
/** libfaketime reads the offset from here again and again: writing it moves the clock of what runs. */
const offsetFile = join(mkdtempSync(join(tmpdir(), 'tidegate-clock-')), 'offset')

const dayMs = 86_400_000
/** Back to the spring of 1970. */
const daysSince1970 = Math.floor(Date.now() / dayMs) - 100

function moveClock(offset: string): void {
  writeFileSync(offsetFile, `${offset}\n`)
}

describe('a gateway whose wall clock is moved', () => {
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

  test.for([
    { to: 'ten days ahead', offset: '+10d', days: 10 },
    { to: '1970', offset: `-${daysSince1970}d`, days: -daysSince1970 },
  ])(
    'to $to and back expires nothing because of it, restamps nothing, and puts the correction on record (G2)',
    { timeout: 120_000 },
    async ({ offset, days }) => {
      const run = await rig.run({ eventsPerSecond: 200 })
      const moves = movesSeen()
      rig.link.set({ kind: 'down' })
      await run.until('events wait in the outbox', ({ buffered }) => buffered > 400)
      moveClock(offset)
      await run.until('the edge has seen it', () => movesSeen() > moves)
      const { acknowledged } = run.fleet.book.totals()
      await run.until('devices go on', (snapshot) => snapshot.acknowledged > acknowledged + 200)
      moveClock('+0')
      await run.until('the edge has seen it go back', () => movesSeen() > moves + 1)
      rig.link.set({ kind: 'up' })
      await run.balanced()
      expect((await correctionsDays()).slice(-2)).toEqual([days, -days])
    },
  )

  function movesSeen(): number {
    return readFileSync(rig.stack.logs.edge, 'utf8').split('the wall clock was moved').length - 1
  }

  async function correctionsDays(): Promise<number[]> {
    const client = new Client(rig.stack.databaseUrl)
    await client.connect()
    const { rows } = await client.query<{ data: { offsetMs: number } }>(
      `select body->'data' as data from tidegate.events
       where type = 'dev.tidegate.ledger' and body->'data'->>'kind' = 'clock-corrected' order by position`,
    )
    await client.end()
    return rows.map(({ data }) => Math.round(data.offsetMs / dayMs))
  }
})
