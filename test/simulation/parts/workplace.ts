import { createHash } from 'node:crypto'
import type { Statements } from '../../../cloud/database/statements.ts'
import type { DeadLetter } from '../../../cloud/letters/dead-letters.ts'
import type { GroupStates } from '../../../cloud/protection/group-states.ts'
import type { Replayed } from '../../../cloud/replays/replayed.ts'
import type { ReplayedLetter, Replays } from '../../../cloud/replays/replays.ts'
import type { SimulatedDatabase } from './database.ts'
import type { SimulatedProcess } from './process.ts'
import type { ReplayRecord } from './tables.ts'
import { simulatedOf, type SimulatedTransaction } from './transaction.ts'

/** A deed: it is on record, and whoever looks for one finds it. */
export function startReplay(database: SimulatedDatabase, group: string): ReplayRecord {
  const { letters, standings, replays } = database
  const open = [...letters].filter(
    ([number, letter]) => letter.group === group && standings.get(number)?.state === 'open',
  )
  const record: ReplayRecord = {
    replay: replays.size + 1,
    request: { filter: { group } },
    through: Math.max(0, ...open.map(([number]) => number)),
    cursor: '',
    page: undefined,
    claim: undefined,
    untilMs: -1,
    movedAtMs: database.parts.scheduler.nowMs,
    isOver: false,
    state: 'running',
    total: open.length,
    sent: 0,
    resolved: 0,
    failed: 0,
    repeats: 0,
    returned: 0,
    step: 0,
    stepSent: 0,
    exhausted: false,
  }
  replays.set(record.replay, record)
  return record
}

/** Per device in the order of its ledger. */
function placeOf([number, { device = '', epoch = '', sequence = 0 }]: [number, DeadLetter]): string {
  return [device, epoch, String(sequence).padStart(12, '0'), String(number).padStart(12, '0')].join('\n')
}

/** In place of `replayedIn` of PostgreSQL. */
export function simulatedReplayed(transaction: Statements): Replayed {
  const tx = simulatedOf(transaction)
  const { letters, standings, replayCounts } = tx.database
  return {
    async hold(group, sent) {
      await tx.request('hold')
      for (const { letter } of sent.toSorted((a, b) => a.letter - b.letter)) await tx.lock(`row ${letter}`)
      return sent.filter(({ letter, replay }) => {
        const standing = standings.get(letter)
        return (
          letters.get(letter)?.group === group &&
          standing?.state === 'replaying' &&
          standing.replay === replay
        )
      })
    },
    async resolve(numbers) {
      await tx.request('resolve')
      tx.what.push(`resolves letters ${numbers.join(' ')}`)
      tx.staged.push(() => {
        for (const number of numbers) {
          const standing = standings.get(number)
          if (standing?.state !== 'replaying') continue
          standing.state = 'resolved'
          replayCounts.push({ replay: standing.replay ?? 0, resolved: 1, failed: 0 })
        }
      })
    },
    // Nothing is replayed out of history there.
    count: () => Promise.resolve(),
  }
}

/** In place of `postgresReplays`: each is a transaction of its own, in which the process may be killed. */
export function simulatedReplays(
  database: SimulatedDatabase,
  process: SimulatedProcess,
  leaseMs: number,
  signal: AbortSignal,
): Replays {
  const { replays, scheduler } = { replays: database.replays, scheduler: database.parts.scheduler }
  const storage = database.storageFor(process)
  const run = <T>(work: (tx: SimulatedTransaction) => Promise<T>): Promise<T> =>
    storage.transaction((tx) => work(simulatedOf(tx)), signal)
  /** With its lock, if it is ours; `what` is done to it when it is committed. */
  const own = async (
    tx: SimulatedTransaction,
    { replay, claim }: { replay: number; claim: string },
  ): Promise<ReplayRecord | undefined> => {
    await tx.request('replay')
    await tx.lock(`replay ${replay}`)
    const record = replays.get(replay)
    return record !== undefined && record.claim === claim && !record.isOver ? record : undefined
  }
  const change = (
    claimed: { replay: number; claim: string },
    what: (record: ReplayRecord) => void,
  ): Promise<void> =>
    run(async (tx) => {
      const record = await own(tx, claimed)
      if (record) tx.staged.push(() => what(record))
    })
  return {
    claim: () =>
      run(async (tx) => {
        await tx.request('claim replay')
        const [record] = [...replays.values()]
          .filter(
            ({ isOver, untilMs, replay }) =>
              !isOver && untilMs < scheduler.nowMs && tx.isFree(`replay ${replay}`),
          )
          .toSorted((a, b) => a.untilMs - b.untilMs || a.replay - b.replay)
        if (!record) return undefined
        await tx.lock(`replay ${record.replay}`)
        const claim = `${process.name} ${scheduler.events}`
        tx.staged.push(() => {
          record.claim = claim
          record.untilMs = scheduler.nowMs + leaseMs
        })
        return { replay: record.replay, claim, request: record.request, isOurs: true }
      }),
    look: (claimed) =>
      run(async (tx) => {
        const record = await own(tx, claimed)
        if (!record) return undefined
        const counts = database.replayCounts.filter(({ replay }) => replay === record.replay)
        const resolved = record.resolved + counts.reduce((sum, one) => sum + one.resolved, 0)
        const failed = record.failed + counts.reduce((sum, one) => sum + one.failed, 0)
        const movedAtMs = counts.length > 0 ? scheduler.nowMs : record.movedAtMs
        tx.staged.push(() => {
          for (const count of counts) database.replayCounts.splice(database.replayCounts.indexOf(count), 1)
          Object.assign(record, { resolved, failed, movedAtMs, untilMs: scheduler.nowMs + leaseMs })
        })
        const pageOpen = record.page !== undefined
        return { ...record, resolved, failed, pageOpen, stillMs: scheduler.nowMs - movedAtMs }
      }),
    take: (claimed, lettersMax) =>
      run(async (tx) => {
        const record = await own(tx, claimed)
        if (!record) return []
        if (record.page) return record.page.map((number) => toSend(database, number))
        if (record.state !== 'running') return []
        const found = [...database.letters]
          .filter(
            ([number, { group }]) =>
              group === record.request.filter?.group &&
              number <= record.through &&
              database.standings.get(number)?.state === 'open' &&
              database.standings.get(number)?.replay !== record.replay &&
              tx.isFree(`row ${number}`),
          )
          .filter((letter) => placeOf(letter) > record.cursor)
          .toSorted((a, b) => (placeOf(a) < placeOf(b) ? -1 : 1))
          .slice(0, lettersMax)
        for (const [number] of found) await tx.lock(`row ${number}`)
        const page = found.map(([number]) => number)
        const last = found.at(-1)
        tx.what.push(`takes letters ${page.join(' ')}`)
        tx.staged.push(() => {
          for (const number of page)
            database.standings.set(number, { state: 'replaying', replay: record.replay })
          record.page = page.length === 0 ? undefined : page
          if (last) record.cursor = placeOf(last)
          record.exhausted = page.length < lettersMax
          record.movedAtMs = scheduler.nowMs
        })
        return page.map((number) => toSend(database, number))
      }),
    sent: (claimed) =>
      change(claimed, (record) => {
        record.sent += record.page?.length ?? 0
        record.page = undefined
        record.movedAtMs = scheduler.nowMs
      }),
    step: async () => {},
    stop: (claimed, reason) =>
      change(claimed, (record) => {
        if (record.state === 'running') Object.assign(record, { state: 'stopping', reason })
      }),
    giveBack: (claimed) =>
      run(async (tx) => {
        const record = await own(tx, claimed)
        if (!record) return 0
        const mine = [...database.standings].filter(([, { replay }]) => replay === record.replay)
        for (const [number] of mine) await tx.lock(`row ${number}`)
        const back = mine.filter(([, { state }]) => state === 'replaying')
        tx.staged.push(() => {
          for (const [, standing] of back) standing.state = 'open'
          record.returned += back.length
          record.sent += record.page?.length ?? 0
          record.page = undefined
          record.movedAtMs = scheduler.nowMs
        })
        return back.length
      }),
    end: (claimed, state) =>
      change(claimed, (record) => {
        Object.assign(record, { state, isOver: true, claim: undefined })
      }),
    release: (claimed, afterMs) =>
      change(claimed, (record) => {
        record.claim = undefined
        record.untilMs = scheduler.nowMs + afterMs
      }),
  }
}

function toSend({ letters }: SimulatedDatabase, number: number): ReplayedLetter {
  const letter = letters.get(number) as DeadLetter
  const { group, device, body, properties, headers, routingKey, publisher } = letter
  const message = { body, properties, headers, routingKey, publisher }
  return {
    letter: number,
    group,
    device,
    ...message,
    unvetted: !isOfItsEvent(letter),
    generation: undefined,
    edit: undefined,
  }
}

/** As `isOfItsEvent` of filter.ts: any other key is that of bytes, which nobody has believed (G9). */
function isOfItsEvent({ key, source = '', id = '' }: DeadLetter): boolean {
  return key.equals(createHash('sha256').update(`event\n${source}\n${id}`).digest())
}

/** What all instances know of their groups, asked over a link; a process may die before an answer, which is true all the same. */
export function statesFor(
  database: SimulatedDatabase,
  process: SimulatedProcess,
  states: GroupStates,
): GroupStates {
  const asked = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    await database.request(process, what)
    const answer = await work()
    await process.step(`${what} answered`, 0.1)
    return answer
  }
  return {
    read: () => asked('states', () => states.read()),
    pause: (pause) => asked('pause', () => states.pause(pause)),
    resume: (group) => asked('resume', () => states.resume(group)),
    trip: (...given) => asked('trip', () => states.trip(...given)),
    beginTrial: (...given) => asked('begin trial', () => states.beginTrial(...given)),
    renewTrial: (...given) => asked('renew trial', () => states.renewTrial(...given)),
    yieldTrial: (...given) => asked('yield trial', () => states.yieldTrial(...given)),
    failTrial: (...given) => asked('fail trial', () => states.failTrial(...given)),
    endTrial: (...given) => asked('end trial', () => states.endTrial(...given)),
  }
}
