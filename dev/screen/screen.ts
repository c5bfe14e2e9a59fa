import { systemClock } from '../../src/clock.ts'
import type { RunPlan } from '../faults/plan.ts'
import type { Snapshot } from '../watch/snapshot.ts'
import { createPace } from './pace.ts'
import { openTerminal, type Terminal } from './terminal.ts'
import { duration } from '../format.ts'
import { renderLine, renderPlan, renderView, type Note, type ViewState } from './view.ts'

/** What a view says of the run as a whole. */
export interface Scene {
  title: string
  plan: RunPlan
  /** What can be pressed, and what it does. */
  keys: readonly string[]
}

/** Where a run shows itself: a live view on a terminal, lines in a log. */
export interface Screen {
  /** A line that stays. */
  say(text: string): void
  /** Something notable, now or at the wall clock's `atMs`; on a terminal it passes by in the view. `run`: what was done on purpose. */
  note(from: string, text: string, level?: Note['level'], atMs?: number): void
  /** From now on the view is live; before, lines are printed. */
  begin(scene: Scene): void
  /** The view goes on under another title. */
  goOn(scene: Scene): void
  show(snapshot: Snapshot): void
  /** Back to lines, without snapshots and notes. */
  end(): void
  /** Whether somebody can see a live view. */
  readonly live: boolean
}

const lineEveryMs = 5000
const notesMax = 50

export interface ScreenOptions {
  output: NodeJS.WriteStream
  input: NodeJS.ReadStream
  env: NodeJS.ProcessEnv
  onKey: (key: string) => void
}

export function openScreen(options: ScreenOptions): Screen {
  return new RunScreen(options)
}

class RunScreen implements Screen {
  readonly #options: ScreenOptions
  readonly live: boolean
  readonly #colour: boolean
  readonly #notes: (Note & { atMs: number })[] = []
  readonly #pace = createPace()
  #terminal: Terminal | undefined
  #scene: Scene = { title: '', plan: { forMs: undefined, faults: [] }, keys: [] }
  #shownAtMs = -Infinity
  #over = false

  constructor(options: ScreenOptions) {
    const { output, env } = options
    this.#options = options
    this.live = output.isTTY && env['TERM'] !== 'dumb'
    this.#colour = this.live && !env['NO_COLOR']
  }

  say(text: string): void {
    if (this.#terminal) this.#terminal.print(text)
    else this.#options.output.write(`${text}\n`)
  }

  note(from: string, text: string, level: Note['level'] = 'info', atMs = systemClock.now()): void {
    if (this.#over) return
    // What was done twice was done twice; what a program repeats is told once, and how often.
    const before =
      from === 'run' ? -1 : this.#notes.findIndex((note) => note.from === from && note.text === text)
    const [same] = before === -1 ? [] : this.#notes.splice(before, 1)
    const times = (same?.times ?? 0) + 1
    const at = new Date(atMs).toTimeString().slice(0, 8)
    this.#notes.push({ at, atMs, from, text, level, times })
    // A log is read once a second: what stands in it may be older than what was done meanwhile.
    this.#notes.sort((a, b) => a.atMs - b.atMs)
    const alike = this.#notes.filter((note) => (note.from === 'run') === (from === 'run'))
    const [oldest] = alike
    if (alike.length > notesMax && oldest) this.#notes.splice(this.#notes.indexOf(oldest), 1)
    // A log is told the first time, the tenth and the hundredth, not every second of an outage.
    if (!this.#terminal && (level === 'info' || /^10*$/.test(String(times)))) {
      const often = level !== 'info' && times > 1 ? ` (${times} times)` : ''
      this.say(`${duration(this.#pace.elapsedMs)}  ${from}: ${text}${often}`)
    }
  }

  begin(scene: Scene): void {
    this.#scene = scene
    const planned = renderPlan(scene.plan)
    if (planned !== '') this.say(`${planned}\n`)
    if (this.live) this.#terminal = openTerminal(this.#options)
  }

  goOn(scene: Scene): void {
    this.#scene = scene
  }

  show(snapshot: Snapshot): void {
    if (this.#over) return
    this.#pace.see(snapshot)
    if (this.#terminal) {
      const { columns, rows } = this.#options.output
      const room = { columns, rows: Math.max(1, rows - 1) }
      this.#terminal.draw(renderView(this.#stateOf(snapshot), { ...room, colour: this.#colour }))
    } else if (systemClock.monotonicMs() - this.#shownAtMs >= lineEveryMs) {
      this.#shownAtMs = systemClock.monotonicMs()
      this.say(renderLine(snapshot, this.#scene.plan))
    }
  }

  end(): void {
    this.#over = true
    this.#terminal?.close()
    this.#terminal = undefined
  }

  #stateOf(snapshot: Snapshot): ViewState {
    return {
      ...this.#scene,
      snapshot,
      depths: this.#pace.depths,
      acknowledgedPerSecond: this.#pace.perSecond((one) => one.acknowledged),
      storedPerSecond: this.#pace.perSecond((one) => one.stored),
      notes: this.#notes,
    }
  }
}
