import { describe, expect, test } from 'vitest'
import { startReplayer } from '../../../cloud/replays/replayer.ts'
import type {
  ClaimedReplay,
  ReplayedLetter,
  ReplayProgress,
  Replays,
} from '../../../cloud/replays/replays.ts'
import { systemClock } from '../../../src/clock.ts'
import { TidegateError } from '../../../src/errors.ts'
import type { Logger } from '../../../src/log.ts'

const quiet = { info: () => {}, warn: () => {} } as unknown as Logger
/** Whatever it waits for comes in the next turn. */
const clock = {
  ...systemClock,
  sleep: (_ms: number, signal?: AbortSignal): Promise<void> =>
    new Promise((done, failed) =>
      setImmediate(() => (signal?.aborted ? failed(signal.reason as Error) : done())),
    ),
}

const letterOf = (letter: number, group: string): ReplayedLetter => ({
  letter,
  group,
  device: 'device-1',
  body: Buffer.from('{}'),
  properties: {},
  headers: {},
  routingKey: '00.a',
  publisher: undefined,
  unvetted: false,
  generation: undefined,
  edit: undefined,
})

interface Row extends ReplayProgress {
  group: string
  page: number[]
  open: number
  ended: boolean
}

/** One letter each, in memory; whoever was released first is next. */
class Rows implements Replays {
  readonly rows: Row[]
  readonly #turns: Row[]

  constructor(...groups: readonly string[]) {
    this.rows = groups.map((group) => ({
      group,
      page: [],
      open: 1,
      ended: false,
      state: 'running',
      total: 1,
      sent: 0,
      resolved: 0,
      failed: 0,
      repeats: 0,
      returned: 0,
      step: 0,
      stepSent: 0,
      exhausted: false,
      pageOpen: false,
      stillMs: 0,
    }))
    this.#turns = [...this.rows]
  }

  #of({ replay }: ClaimedReplay): Row {
    return this.rows[replay] as Row
  }

  async claim(): Promise<ClaimedReplay | undefined> {
    await new Promise(setImmediate)
    const row = this.#turns.shift()
    return row && { replay: this.rows.indexOf(row), claim: 'c', request: { filter: {} }, isOurs: true }
  }

  async look(claimed: ClaimedReplay): Promise<ReplayProgress> {
    const row = this.#of(claimed)
    return { ...row, pageOpen: row.page.length > 0 }
  }

  async take(claimed: ClaimedReplay): Promise<ReplayedLetter[]> {
    const row = this.#of(claimed)
    if (row.page.length === 0 && row.open > 0) row.page = [claimed.replay]
    row.open = 0
    row.exhausted = true
    return row.page.map((letter) => letterOf(letter, row.group))
  }

  async sent(claimed: ClaimedReplay): Promise<void> {
    const row = this.#of(claimed)
    row.sent += row.page.length
    row.page = []
  }

  async step(): Promise<void> {}

  async stop(claimed: ClaimedReplay, reason: string): Promise<void> {
    Object.assign(this.#of(claimed), { state: 'stopping', reason })
  }

  async giveBack(claimed: ClaimedReplay): Promise<number> {
    const row = this.#of(claimed)
    const back = row.page.length + row.sent - row.resolved - row.failed - row.returned
    row.sent += row.page.length
    row.page = []
    row.returned += back
    return back
  }

  async end(claimed: ClaimedReplay, state: 'done' | 'stopped'): Promise<void> {
    Object.assign(this.#of(claimed), { state, ended: true })
  }

  async release(claimed: ClaimedReplay): Promise<void> {
    const row = this.#of(claimed)
    if (!row.ended) this.#turns.push(row)
  }
}

const gone = (): TidegateError =>
  new TidegateError('PUBLISH_UNPROVEN', { message: 'gone.00.v2 is not there', retryable: true, hint: 'x' })

/** Runs until `check` holds. */
async function run(rows: Rows, sends: (queue: string) => void, check: () => boolean): Promise<void> {
  const replayer = startReplayer({
    replaysUntil: () => rows,
    outbound: {
      send: async (target) => sends(target.kind === 'queue' ? target.queue : ''),
    },
    partitions: 1,
    clock,
    log: quiet,
    settleWithinMs: 1_000,
  })
  while (!check()) await new Promise(setImmediate)
  await replayer.close()
}

describe('an instance that does replays', () => {
  test('holds up none for one whose queue takes nothing, or that waits for its letters', async () => {
    const rows = new Rows('gone', 'slow', 'effects')
    const [, , last] = rows.rows
    const sends = (queue: string): void => {
      if (queue.startsWith('gone')) throw gone()
      if (queue.startsWith('effects') && last) last.resolved = 1
    }
    await run(rows, sends, () => last?.ended === true)
    expect(last).toMatchObject({ state: 'done', sent: 1, resolved: 1 })
    expect(rows.rows[0]).toMatchObject({ state: 'running', ended: false })
    expect(rows.rows[1]).toMatchObject({ state: 'running', sent: 1, ended: false })
  })

  test('ends one that is stopped whose queue takes nothing, and gives its letters back (G5)', async () => {
    const rows = new Rows('gone')
    const [row] = rows.rows
    let sends = 0
    const refuse = (): void => {
      if (++sends === 3 && row) row.state = 'stopping'
      throw gone()
    }
    await run(rows, refuse, () => row?.ended === true)
    expect(row).toMatchObject({ state: 'stopped', page: [], returned: 1 })
    expect(sends).toBe(3)
  })

  test('ends one whose queue has taken nothing for too long, and says why (G5)', async () => {
    const rows = new Rows('gone')
    const [row] = rows.rows
    const refuse = (): void => {
      if (row) row.stillMs += 600
      throw gone()
    }
    await run(rows, refuse, () => row?.ended === true)
    expect(row).toMatchObject({ state: 'stopped', returned: 1 })
    expect(row?.reason).toMatch(/^PUBLISH_UNPROVEN/)
  })
})
