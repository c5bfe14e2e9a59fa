import { systemClock } from '../../src/clock.ts'
import type { RunPlan } from '../faults/plan.ts'
import type { Snapshot } from '../watch/snapshot.ts'
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
  /** Something notable; on a terminal it passes by in the view. */
  note(from: string, text: string, level?: Note['level']): void
  /** From now on the view is live; before, lines are printed. */
  begin(scene: Scene): void
  /** The view goes on under another title. */
  goOn(scene: Scene): void
  show(snapshot: Snapshot): void
  /** Back to lines. */
  end(): void
}

const lineEveryMs = 5000
const depthsMax = 200
const notesMax = 50
const rateWindowMs = 2000

export function openScreen(options: {
  output: NodeJS.WriteStream
  input: NodeJS.ReadStream
  env: NodeJS.ProcessEnv
  onKey: (key: string) => void
}): Screen {
  const { output, input, env, onKey } = options
  const live = output.isTTY && env['TERM'] !== 'dumb'
  const colour = live && !env['NO_COLOR']
  const notes: Note[] = []
  const depths: number[] = []
  const recent: Snapshot[] = []
  let terminal: Terminal | undefined
  let scene: Scene = { title: '', plan: { forMs: undefined, faults: [] }, keys: [] }
  let shownAtMs = -Infinity
  let depthSecond = -1

  function say(text: string): void {
    if (terminal) terminal.print(text)
    else output.write(`${text}\n`)
  }

  function perSecond(count: (snapshot: Snapshot) => number): number {
    const [first] = recent
    const last = recent.at(-1)
    if (!first || !last || last.elapsedMs <= first.elapsedMs) return 0
    return Math.max(0, ((count(last) - count(first)) / (last.elapsedMs - first.elapsedMs)) * 1000)
  }

  /** The deepest of each second. */
  function seeDepth({ elapsedMs, buffered }: Snapshot): void {
    const second = Math.floor(elapsedMs / 1000)
    if (second === depthSecond && depths.length > 0) {
      depths.push(Math.max(depths.pop() ?? 0, buffered))
      return
    }
    depthSecond = second
    depths.push(buffered)
    if (depths.length > depthsMax) depths.shift()
  }

  function stateOf(snapshot: Snapshot): ViewState {
    return {
      ...scene,
      snapshot,
      depths,
      acknowledgedPerSecond: perSecond((one) => one.acknowledged),
      storedPerSecond: perSecond((one) => one.stored),
      notes,
    }
  }

  return {
    say,
    note(from, text, level = 'info') {
      const before = notes.findIndex((note) => note.from === from && note.text === text)
      const [same] = before === -1 ? [] : notes.splice(before, 1)
      const times = (same?.times ?? 0) + 1
      notes.push({ at: new Date().toTimeString().slice(0, 8), from, text, level, times })
      if (notes.length > notesMax) notes.shift()
      // A log is told the first time, the tenth and the hundredth, not every second of an outage.
      if (!terminal && (level === 'info' || /^10*$/.test(String(times)))) {
        const often = level !== 'info' && times > 1 ? ` (${times} times)` : ''
        say(`${duration(recent.at(-1)?.elapsedMs ?? 0)}  ${from}: ${text}${often}`)
      }
    },
    begin(first) {
      scene = first
      const planned = renderPlan(scene.plan)
      if (planned !== '') say(`${planned}\n`)
      if (!live) return
      terminal = openTerminal({ output, input, onKey })
    },
    goOn(next) {
      scene = next
    },
    show(snapshot) {
      seeDepth(snapshot)
      recent.push(snapshot)
      while (snapshot.elapsedMs - (recent[0]?.elapsedMs ?? 0) > rateWindowMs) recent.shift()
      if (terminal) {
        terminal.draw(renderView(stateOf(snapshot), { columns: output.columns, colour }))
      } else if (systemClock.monotonicMs() - shownAtMs >= lineEveryMs) {
        shownAtMs = systemClock.monotonicMs()
        say(renderLine(snapshot, scene.plan))
      }
    },
    end() {
      terminal?.close()
      terminal = undefined
    },
  }
}
