import type { DeadLetters } from '../../../cloud/letters/dead-letters.ts'
import { nothingDiverted, type Yard } from '../../../cloud/parking/yard.ts'
import { createBreakers } from '../../../cloud/protection/breakers.ts'
import { applyTogether } from '../../../cloud/pipeline/batch.ts'
import { defineConsumer } from '../../../cloud/pipeline/consumer.ts'
import { configured } from '../../../cloud/pipeline/definition.ts'
import type { Parcel } from '../../../cloud/pipeline/judge.ts'
import type { Storage, Transaction } from '../../../cloud/database/storage.ts'
import type { Replayed, SentLetter } from '../../../cloud/replays/replayed.ts'
import { nextMove, type ReplayProgress } from '../../../cloud/replays/replays.ts'
import { silentLog } from '../../../src/log.ts'
import { FakeClock } from '../fakes/clock.ts'
import { Ledger } from './cloud-events.ts'

/** What is taken away of the way in which letters come back, to see that a check notices. */
export type ReplayFault =
  | 'resolved-outside-the-transaction'
  | 'held-in-any-state'
  | 'held-in-any-replay'
  | 'page-forgotten'
  | 'never-given-back'
  | 'taken-when-not-open'

interface LetterState {
  state: 'open' | 'replaying' | 'resolved'
  replay: number
  /** How often it was edited: what is sent says of which edit it is. */
  edits: number
}

interface ReplayRow extends ReplayProgress {
  /** The letters behind this were not taken yet. */
  cursor: number
  page: number[]
  owner: number | undefined
  over: boolean
}

interface State {
  letters: LetterState[]
  replays: ReplayRow[]
  inbox: Set<string>
  /** By letter: the edits that its effects were made of. */
  effects: number[][]
}

interface Message extends SentLetter {
  edits: number
}

class Killed extends Error {}

const group = 'effects'
const nothingParked: Yard = {
  divert: () => Promise.resolve(nothingDiverted),
  committed() {},
  park: () => Promise.resolve('parked'),
}
const noLetters: DeadLetters = {
  add: () => Promise.resolve([]),
  openOf: () => Promise.resolve(new Set()),
  failedAgain: (letters) => Promise.resolve(letters.map(() => undefined)),
}

/**
 * A database, a queue, instances of the cloud and operators in memory. The rule of a replay and the transaction of its effect are the
 * cloud's own; what the database and the broker do is imitated. Everything happens in steps of a name, one at a time, in an order that
 * chance decides.
 */
export class ReplayWorld {
  readonly violations: string[] = []
  readonly trace: string[] = []
  #state: State
  #queue: Message[] = []
  readonly #random: () => number
  readonly #fault: ReplayFault | undefined
  readonly #clock = new FakeClock()
  readonly #parcels: Parcel['event'][]
  #failing = true
  #calm = false

  constructor(random: () => number, letters: number, fault?: ReplayFault) {
    this.#random = random
    this.#fault = fault
    const ledger = new Ledger()
    this.#parcels = Array.from({ length: letters }, () => ledger.next('device-1').event)
    this.#state = {
      letters: this.#parcels.map(() => ({ state: 'open', replay: -1, edits: 0 })),
      replays: [],
      inbox: new Set(),
      effects: this.#parcels.map(() => []),
    }
  }

  /** A life with faults, then calm until nothing is left to do, and what must be true at its end. */
  async run(steps: number): Promise<void> {
    this.#startReplay()
    for (let step = 0; step < steps; step++) await this.#step()
    this.#calm = true
    this.#failing = false
    for (let round = 0; round < 3; round++) {
      if (round > 0) this.#startReplay()
      for (let step = 0; step < 400 && !this.#isIdle(); step++) await this.#calmStep()
    }
    this.#check()
  }

  #check(): void {
    const { letters, replays, effects } = this.#state
    letters.forEach(({ state, edits }, letter) => {
      const made = effects[letter] as number[]
      if (state !== 'resolved') this.violations.push(`G5: letter ${letter} is ${state} for ever`)
      if (made.length !== 1) this.violations.push(`G4: letter ${letter} has ${made.length} effects`)
      if (made.length === 1 && made[0] !== edits)
        this.violations.push(`the effect of letter ${letter} is of edit ${made[0]}, and it says ${edits}`)
    })
    replays.forEach(({ sent, resolved, failed, returned, over }, replay) => {
      if (!over) this.violations.push(`replay ${replay} never ends`)
      if (sent !== resolved + failed + returned)
        this.violations.push(
          `replay ${replay}: ${sent} sent, ${resolved} + ${failed} + ${returned} accounted for`,
        )
    })
  }

  #isIdle(): boolean {
    return this.#queue.length === 0 && this.#state.replays.every(({ over }) => over)
  }

  async #calmStep(): Promise<void> {
    for (const [replay] of this.#state.replays.entries()) this.#replayerStep(0, replay)
    await this.#consume()
    for (const row of this.#state.replays) row.stillMs += this.#queue.length === 0 ? 50 : 0
  }

  async #step(): Promise<void> {
    const chance = this.#random()
    if (chance < 0.45) this.#replayerStep(this.#pick(2), this.#pick(this.#state.replays.length))
    else if (chance < 0.8) await this.#consume()
    else if (chance < 0.84) this.#told('purge', () => this.#queue.splice(0, this.#pick(4)))
    else if (chance < 0.88) this.#told('redeliver', () => this.#queue.push(...this.#queue.slice(0, 1)))
    else if (chance < 0.91) this.#told('prune', () => this.#state.inbox.clear())
    else if (chance < 0.94) this.#told('edit', () => this.#edit())
    else if (chance < 0.96) this.#told('mend', () => (this.#failing = !this.#failing))
    else if (chance < 0.98)
      this.#told('wait', () => this.#state.replays.forEach((row) => (row.stillMs += 100)))
    else if (this.#state.replays.length < 4) this.#told('replay', () => this.#startReplay())
  }

  #told(name: string, act: () => unknown): void {
    this.trace.push(name)
    act()
  }

  #edit(): void {
    const letter = this.#state.letters[this.#pick(this.#state.letters.length)]
    if (letter?.state === 'open') letter.edits++
  }

  #startReplay(): void {
    this.#state.replays.push({
      state: 'running',
      total: this.#state.letters.length,
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
      cursor: 0,
      page: [],
      owner: undefined,
      over: false,
    })
  }

  /** What an instance does with a replay next; it may be killed at each step, and another goes on. */
  #replayerStep(instance: number, replay: number): void {
    const row = this.#state.replays[replay]
    if (!row || row.over) return
    row.owner = instance
    const filter = { group }
    const move = nextMove(row, { filter }, { pageMax: 3, outstandingMax: 5, settleWithinMs: 90 })
    this.trace.push(`${instance} ${replay} ${move.kind}`)
    if (move.kind === 'end') row.over = true
    else if (move.kind === 'stop') row.state = 'stopping'
    else if (move.kind === 'give-back') this.#giveBack(replay, row)
    else if (move.kind === 'send') this.#send(replay, row, move.lettersMax)
  }

  #send(replay: number, row: ReplayRow, lettersMax: number): void {
    if (!row.pageOpen) this.#take(replay, row, lettersMax)
    if (this.#isKilled('taken')) return this.#forgetPage(row)
    for (const letter of row.page) {
      const { state, replay: of, edits } = this.#state.letters[letter] as LetterState
      if (state === 'replaying' && of === replay) this.#queue.push({ letter, replay, edits })
      if (this.#isKilled('sent-some')) return this.#forgetPage(row)
    }
    row.sent += row.page.length
    row.page = []
    row.pageOpen = false
    row.stillMs = 0
  }

  #take(replay: number, row: ReplayRow, lettersMax: number): void {
    const { letters } = this.#state
    for (; row.cursor < letters.length && row.page.length < lettersMax; row.cursor++) {
      const letter = letters[row.cursor] as LetterState
      const isFree = letter.state === 'open' || this.#fault === 'taken-when-not-open'
      if (!isFree || letter.replay === replay) continue
      Object.assign(letter, { state: 'replaying', replay })
      row.page.push(row.cursor)
    }
    row.exhausted = row.cursor >= letters.length
    row.pageOpen = row.page.length > 0
  }

  #forgetPage(row: ReplayRow): void {
    if (this.#fault !== 'page-forgotten') return
    row.page = []
    row.pageOpen = false
  }

  #giveBack(replay: number, row: ReplayRow): void {
    row.stillMs = 0
    row.sent += row.page.length
    row.page = []
    row.pageOpen = false
    for (const letter of this.#state.letters) {
      if (letter.state !== 'replaying' || letter.replay !== replay) continue
      if (this.#fault !== 'never-given-back') letter.state = 'open'
      row.returned++
    }
  }

  /** An instance applies what is first in the queue; killed before or after its commit it has acknowledged nothing. */
  async #consume(): Promise<void> {
    const messages = this.#queue.slice(0, 1 + this.#pick(3))
    if (messages.length === 0) return
    const together = await applyTogether(
      messages.map((message) => this.#parcelOf(message)),
      {
        consumer: this.#consumer(),
        storage: this.#storage(),
        replayedIn: (tx) => (tx as ModelTransaction).replayed,
        breakers: createBreakers(),
        batchTimeTargetMs: 1_000,
        clock: this.#clock,
        log: silentLog,
        lettersIn: () => noLetters,
        yard: nothingParked,
      },
      new AbortController().signal,
    )
    if (together.kind === 'committed') this.#queue.splice(0, together.done.length)
    else if (!(together.error instanceof Killed)) this.#bury(together.culprit ?? 0)
    this.trace.push(`consume ${together.kind}`)
  }

  /** What fails is a letter that is open again, if it is that replay's; then its message is acknowledged. */
  #bury(culprit: number): void {
    const [message] = this.#queue.splice(culprit, 1)
    if (!message) return
    const letter = this.#state.letters[message.letter] as LetterState
    if (letter.state !== 'replaying' || letter.replay !== message.replay) return
    letter.state = 'open'
    const row = this.#state.replays[message.replay] as ReplayRow
    row.failed++
    row.stillMs = 0
  }

  #consumer() {
    const consumer = defineConsumer({
      group,
      types: ['#'],
      onFailure: 'overtake',
      handle: async (event, { tx, delivery }) => {
        if (this.#failing && event.sequence % 3 === 0) throw new Error('the sensor is odd')
        const letter = event.sequence - 1
        const { edits } = delivery as unknown as Message
        await tx.query('effect', [letter, edits])
      },
    })
    return configured(consumer, { ladderMs: [], timeoutMs: 30_000 })
  }

  #parcelOf(message: Message): Parcel {
    const { letter, replay } = message
    const event = this.#parcels[letter] as Parcel['event']
    return {
      event,
      text: '',
      fault: undefined,
      sent: { letter, replay },
      delivery: { attempt: 1, ...message } as never,
    }
  }

  #storage(): Storage {
    return {
      transaction: async (work) => {
        const draft = structuredClone(this.#state)
        const tx = new ModelTransaction(draft, this.#state, this.#fault)
        const result = await work(tx)
        if (this.#isKilled('before-the-commit')) throw new Killed()
        this.#state = draft
        if (this.#isKilled('after-the-commit')) throw new Killed()
        return result
      },
      probe: async () => {},
      close: async () => {},
    }
  }

  #isKilled(step: string): boolean {
    if (this.#calm || this.#random() >= 0.1) return false
    this.trace.push(`killed: ${step}`)
    return true
  }

  #pick(count: number): number {
    return Math.floor(this.#random() * count)
  }
}

class ModelTransaction implements Transaction {
  readonly #draft: State
  readonly #committed: State
  readonly #fault: ReplayFault | undefined

  constructor(draft: State, committed: State, fault: ReplayFault | undefined) {
    this.#draft = draft
    this.#committed = committed
    this.#fault = fault
  }

  readonly inbox: Transaction['inbox'] = {
    claim: async (_group, identities) =>
      identities.map(({ id }) => {
        const isFresh = !this.#draft.inbox.has(id)
        this.#draft.inbox.add(id)
        return isFresh
      }),
    release: async (_group, identities) => {
      for (const { id } of identities) this.#draft.inbox.delete(id)
    },
  }

  readonly replayed: Replayed = {
    hold: async (_group, letters) =>
      letters.filter(({ letter, replay }) => {
        const { state, replay: of } = this.#draft.letters[letter] as LetterState
        const isState = state === 'replaying' || this.#fault === 'held-in-any-state'
        return isState && (of === replay || this.#fault === 'held-in-any-replay')
      }),
    resolve: async (letters) => {
      const isOutside = this.#fault === 'resolved-outside-the-transaction'
      for (const state of isOutside ? [this.#draft, this.#committed] : [this.#draft])
        for (const letter of letters) resolveIn(state, letter)
    },
    count: async () => {},
  }

  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- as the port has it
  async query<Row>(
    _sql: string,
    [letter, edits]: readonly unknown[] = [],
  ): Promise<{ rows: Row[]; rowCount: number }> {
    this.#draft.effects[letter as number]?.push(edits as number)
    return { rows: [], rowCount: 0 }
  }

  run(): Promise<never> {
    return Promise.reject(new Error('there are no statements here'))
  }

  assertUsable(): void {}
}

function resolveIn(state: State, number: number): void {
  const letter = state.letters[number] as LetterState
  if (letter.state !== 'replaying') return
  letter.state = 'resolved'
  const row = state.replays[letter.replay] as ReplayRow
  row.resolved++
  row.stillMs = 0
}
