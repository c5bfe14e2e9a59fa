import { systemClock } from '../src/clock.ts'
import { isAbort, TidegateError } from '../src/errors.ts'
import { createScope, untilSignal, type Scope } from '../src/lifecycle.ts'
import { renderEvidence } from './evidence/text.ts'
import type { PlannedFault } from './faults/plan.ts'
import { followLogs } from './screen/follow-logs.ts'
import { isQuitKey, keyNames, keysFor, lastKeyNames } from './keys.ts'
import { untilNpmIsGone } from './parents.ts'
import { pathOf, shortest } from './stack/paths.ts'
import { createQuit, unless, type Quit } from './quit.ts'
import { grouped, milliseconds } from './format.ts'
import { howToLook } from './look.ts'
import { openReportFiles, type ReportFiles } from './report/files.ts'
import { renderHtml } from './report/html.ts'
import { loadPage, type Page } from './report/page.ts'
import { isProven, renderVerdict } from './report/verdict.ts'
import { renderBooks, sayBroken, type Report, type RunFacts } from './report/report.ts'
import { untilOver } from './faults/schedule.ts'
import { openScreen, type Screen } from './screen/screen.ts'
import type { Sensor } from './fleet/sensors.ts'
import { keptLine, lockRun, refuseToAlterEvidence } from './folder.ts'
import { startRun, type Run } from './run.ts'
import type { Tree } from './stack/config.ts'
import { startStack, type Stack } from './stack/stack.ts'
import { unfinished } from './report/unfinished.ts'
import { startWalk, type Walk } from './walk.ts'
import { waitingOf } from './watch/flow.ts'

export interface ConductOptions {
  dir: string
  title: string
  deviceIds: readonly string[]
  sensors(run: string): readonly Sensor[]
  facts: Pick<RunFacts, 'seed' | 'eventsPerSecond' | 'mode' | 'skippedRows'>
  /** How long the fleet publishes; undefined: until somebody stops it, or it has nothing more to say. */
  forMs: number | undefined
  /** It has nothing more to say some time (a replay), and then the books are balanced. */
  endsByItself: boolean
  faults: readonly PlannedFault[]
  /** JSON; an HTML page is written beside it. */
  reportFile: string | undefined
  /** How long the end is waited for while nothing moves. */
  patienceMs: number
  clouds: number
  /** The demonstration's own consumer runs: its letters are shown, and what can be done about them. */
  walk: boolean
  edgeConfig?: Tree
  cloudConfig?: Tree
}

/** A name for whoever looks in with a client of their own. */
const visitor = 'visitor'
const nothingPlanned = { forMs: undefined, faults: [] }
/** What every MQTT client tries first. */
const usualMqttPort = 8883

/**
 * One run from start to end: stack, fleet, faults, view, books; and everything it started stops with it. Resolves
 * with the exit code: 0 unless the books do not balance or the run was broken off.
 */
export async function conduct(options: ConductOptions, process: NodeJS.Process): Promise<number> {
  const stage = openStage(process)
  const { screen, quit, failing } = stage
  const started: { stack?: Stack; run?: Run } = {}
  try {
    const output = options.reportFile === undefined ? undefined : openOutput(options.reportFile)
    claim(options.dir, stage)
    const stack = (started.stack = await startStackOn(stage, options))
    sayHowToLook(stack, screen)
    const run = (started.run = await startRunOn(stage, stack, options))
    const { saboteur, fleet } = run
    const { forMs, faults } = options
    await untilOver({ forMs, faults, saboteur, finished: fleet.finished, clock: systemClock }, stage.stop)
    failing.throwIfAborted()
    if (!quit.asked.aborted || output) return await balanceBooks(stage, run, output)
    return await sayLast(stage, run, stack, forMs === undefined && !options.endsByItself)
  } catch (error) {
    screen.end()
    if (started.stack && !isAbort(error)) screen.say(keptLine(started.stack))
    if (failing.aborted) throw failing.reason
    if (!isAbort(error)) throw error
    screen.say(
      started.run
        ? 'Stopped before the end; no books were balanced.'
        : 'Stopped while it was starting; nothing was published.',
    )
    return 1
  } finally {
    await stage.scope.close()
  }
}

/** What a run is shown on and stopped by. */
interface Stage {
  process: NodeJS.Process
  screen: Screen
  /** What a key does, from now on. */
  onKey: (does: (key: string) => void) => void
  quit: Quit
  /** Aborted with the reason when something of ours has ended by itself. */
  failing: AbortSignal
  fail: (error: TidegateError) => void
  /** Somebody quits, or something has failed. */
  stop: AbortSignal
  /** Owns what must be closed. */
  scope: Scope
}

function openStage(process: NodeJS.Process): Stage {
  const failing = new AbortController()
  const gone = AbortSignal.any([untilSignal(process), untilNpmIsGone(process)])
  const quit = createQuit({ process, gone, clock: systemClock })
  const pressed: { key: (key: string) => void } = { key: () => undefined }
  return {
    process,
    screen: openScreen({
      output: process.stdout,
      input: process.stdin,
      env: process.env,
      onKey: (key) => pressed.key(key),
    }),
    onKey: (does) => (pressed.key = does),
    quit,
    failing: failing.signal,
    fail: (error) => failing.abort(error),
    stop: AbortSignal.any([quit.asked, failing.signal]),
    scope: createScope(),
  }
}

/** Where the report goes and what it needs, for who learns before the run that either is missing. */
interface Output {
  files: ReportFiles
  page: Page
}

function openOutput(reportFile: string): Output {
  return { files: openReportFiles(reportFile), page: loadPage() }
}

/** From now on the folder is this run's. @throws TidegateError `ALREADY_RUNNING`, `EVIDENCE_KEPT` */
function claim(dir: string, { scope }: Stage): void {
  const locked = lockRun(dir)
  scope.own({ close: () => locked.release() })
  refuseToAlterEvidence(dir)
}

async function startStackOn(stage: Stage, options: ConductOptions): Promise<Stack> {
  const { scope, screen, process, stop, fail } = stage
  return scope.own(
    await startStack({
      dir: options.dir,
      devices: [...options.deviceIds, visitor],
      clouds: options.clouds,
      mqttPort: usualMqttPort,
      env: process.env,
      say: (line) => screen.say(line),
      signal: stop,
      onCrash: fail,
      ...(options.edgeConfig && { edgeConfig: options.edgeConfig }),
      ...(options.cloudConfig && { cloudConfig: options.cloudConfig }),
    }),
  )
}

/** From here on the view is live and keys do what they say. */
async function startRunOn(stage: Stage, stack: Stack, options: ConductOptions): Promise<Run> {
  const { scope, screen, process, quit, fail } = stage
  const run = scope.own(
    await startRun({
      stack,
      sensors: (run) => options.sensors(run),
      facts: { ...options.facts, versions: versions(process) },
      patienceMs: options.patienceMs,
      env: process.env,
      clock: systemClock,
      onSnapshot: (snapshot) => screen.show(snapshot),
      onNote: (text) => screen.note('run', text),
      proves: screen.live,
      visitor,
    }),
  )
  const letterToShow = (): Promise<number | undefined> => run.letterToShow()
  const say = (text: string): void => screen.say(text)
  const cloudConfig = stack.configFiles.clouds[0] ?? ''
  // Its commands ask by the socket.
  const walk =
    options.walk && stack.hasApi
      ? scope.own(startWalk({ letterToShow, say, cloudConfig, clock: systemClock }))
      : undefined
  stage.onKey(
    keysFor({
      run,
      stack,
      quit,
      fail,
      screen,
      lookInside: () => lookInside(stack, stage, walk),
    }),
  )
  const { title, forMs, faults } = options
  screen.begin({ title, plan: { forMs, faults }, keys: keyNames(stack) })
  scope.own({ close: () => screen.end() })
  scope.own(followLogs([stack.edge, ...stack.clouds], screen))
  return run
}

/** The end of a run that has ended by itself, or that somebody has stopped who wants a report. Resolves with the exit code. */
async function balanceBooks(stage: Stage, run: Run, output: Output | undefined): Promise<number> {
  const { screen, quit, failing } = stage
  screen.note('run', 'the sensors stop; waiting until everything is stored (q or Ctrl-C gives up)')
  screen.goOn({ title: 'waiting until everything is stored', plan: nothingPlanned, keys: lastKeyNames })
  stage.onKey((key) => isQuitKey(key) && quit.ask())
  const giveUp = AbortSignal.any([quit.asked.aborted ? quit.insisted : quit.asked, failing])
  const finished = await unless(giveUp, run.finish(giveUp))
  failing.throwIfAborted()
  screen.end()
  if (!finished) {
    screen.say(unfinished(run.fleet.book.totals(), run.last))
    return 1
  }
  const { report, course } = finished
  sayBooks(report, screen)
  if (output) {
    const { files, page } = output
    const json = `${JSON.stringify(report, undefined, 2)}\n`
    files.write(json, renderHtml({ report, recording: run.recording, course }, page))
    screen.say(`report: ${shortest(files.json)}`)
    screen.say(`page:   ${shortest(files.page)}`)
  }
  screen.say(report.balanced ? 'The books balance.' : `THE BOOKS DO NOT BALANCE: ${sayBroken(report)}.`)
  if (report.evidence) screen.say(renderEvidence(report.evidence, report.missingEvents))
  return report.balanced ? 0 : 1
}

function sayHowToLook(stack: Stack, screen: Screen): void {
  const text = howToLook(stack, visitor)
  if (text !== undefined) screen.say(text)
}

/** A database that is away tells of no letter. */
async function lookInside(stack: Stack, { screen }: Stage, walk: Walk | undefined): Promise<void> {
  sayHowToLook(stack, screen)
  await walk?.sayNow()
}

/** What somebody who quits is told, after what could be proven. Resolves with the exit code. */
async function sayLast(stage: Stage, run: Run, stack: Stack, mayQuit: boolean): Promise<number> {
  const { screen, quit, failing } = stage
  screen.note('run', 'auditing what was published so far (q or Ctrl-C leaves at once)')
  const verdict = await unless(AbortSignal.any([quit.insisted, failing]), run.prove(quit.insisted))
  failing.throwIfAborted()
  screen.end()
  const { published, acknowledged } = run.fleet.book.totals()
  const waiting = run.last === undefined ? 0 : waitingOf(run.last)
  screen.say(
    `Stopped after ${milliseconds(run.elapsedMs())}: ${grouped(published)} events published, ${grouped(acknowledged)} acknowledged.`,
  )
  screen.say(renderVerdict(verdict, { waiting, configFile: pathOf(stack.configFiles.clouds[0] ?? '') }))
  return mayQuit && (verdict === undefined || isProven(verdict, waiting)) ? 0 : 1
}

function sayBooks(report: Report, screen: Screen): void {
  screen.say(`\n${renderBooks(report)}\n`)
  const { p50, p99, live, backlog } = report.latencyMs
  screen.say(
    `latency p50 ${milliseconds(p50)}, p99 ${milliseconds(p99)}; live p99 ${milliseconds(live.p99)}` +
      (backlog.count > 0 ? `, backlog p99 ${milliseconds(backlog.p99)}` : '') +
      `; buffered up to ${grouped(report.maxBuffered)}; ${storedAfter(report)}`,
  )
}

function storedAfter({ missing, run }: Report): string {
  const time = milliseconds(run.drainMs)
  return missing === 0 ? `all stored ${time} after the sensors stopped` : `waited ${time} for what is missing`
}

function versions(process: NodeJS.Process): Record<string, string> {
  return { Node: process.version, platform: `${process.platform} ${process.arch}` }
}
