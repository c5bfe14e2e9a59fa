import { type Command, InvalidArgumentError, Option } from 'commander'
import { systemClock } from '../../../src/clock.ts'
import { eventTypePattern } from '../../../src/contract/event.ts'
import { generationPattern } from '../../../src/contract/wire.ts'
import { TidegateError } from '../../../src/errors.ts'
import { listOf, wholeNumber } from '../../../src/settings/command-line.ts'
import type { ReplayItem } from '../../api/rules/shapes.ts'
import { letterOf, limitOf } from '../filters.ts'
import { list, type Listing, type Page } from '../pages.ts'
import type { HistoryPreview } from '../preview.ts'
import { watchReplay } from '../progress.ts'
import { deviceOf, groupOf, momentOf, rateOf, shareOf } from '../readers.ts'
import {
  type Asking,
  asking,
  type Changing,
  changing,
  exitCodes,
  keyFor,
  reasonOf,
  say,
  sayJson,
  withApi,
} from '../session.ts'
import { replaysText } from '../text.ts'
import { previewText, replayText } from './text.ts'

const examples = `
Examples:
  tidegate replay --to alerts --from 2026-11-20T08:00:00Z --until 2026-11-20T12:00:00Z --type com.acme.power --dry-run --config cloud.yaml
  tidegate replay --to alerts --from beginning --rate 500/s --reason "a new rule" --config cloud.yaml
  tidegate replay --to alerts --device sensor-010 --generation 2026-fix --reason "it was computed wrongly" --config cloud.yaml
  tidegate replay show 17 --config cloud.yaml

Without --generation, what the group has processed is a repeat and has no effect. With one, each event has its effect once more, once
for that generation. Dead letters are replayed by tidegate dead replay.

Exit codes: 0 done, 1 not all is well, 2 not understood, 3 refused.`

interface ReplayOptions extends Changing {
  to?: string
  from?: Moment | 'beginning'
  until?: Moment
  type?: string[]
  device?: string
  after?: string
  generation?: string
  rate?: number
  ramp?: number[]
  stopAt?: number
  detach?: boolean
}

/** `tidegate replay` */
export function registerReplayCommand(program: Command): void {
  // What stands behind the name of a subcommand is the subcommand's: both have --config, and the others.
  program.enablePositionalOptions()
  const replay = changing(program.command('replay'))
    .description('send events of history to a consumer group again, and show how it goes')
    .enablePositionalOptions()
    .addOption(new Option('--to <group>', 'the group that is to have them').argParser(groupOf))
    .addOption(
      new Option(
        '--from <when>',
        'beginning; or the time of the event, at or after: RFC 3339, or 2h',
      ).argParser(beginningOf),
    )
    .addOption(new Option('--until <time>', 'the time of the event, before that').argParser(spokenOf))
    .addOption(new Option('--type <types>', 'of these types: a,b').argParser(listOf(typeOf)))
    .addOption(new Option('--device <id>', 'of this device').argParser(deviceOf))
    .addOption(new Option('--after <cursor>', 'behind this place in history').argParser(cursorOf))
    .addOption(
      new Option(
        '--generation <name>',
        'they are to have their effect once more: once for each name',
      ).argParser(generationOf),
    )
    .addOption(new Option('--rate <rate>', 'events in a second, 500/s').argParser(rateOf))
    .addOption(
      new Option(
        '--ramp <counts>',
        'so many, and no more until they are settled; then the next: 1,100,10000',
      ).argParser(listOf(wholeNumber({ max: 10_000_000 }))),
    )
    .addOption(
      new Option('--stop-at <share>', 'stop when more than so much of a step failed: 10%').argParser(shareOf),
    )
    .option('--detach', 'do not wait for the end')
    .addHelpText('after', examples)
    .action(async (options: ReplayOptions) => start(options))
  addList(replay)
  addShow(replay)
  addDeed(replay, 'stop', 'send nothing more; what is on its way is settled')
  addDeed(replay, 'resume', 'go on with one that has stopped, where it was')
}

async function start(options: ReplayOptions): Promise<void> {
  await withApi(options, async (client) => {
    const history = selectionOf(options)
    const { generation } = options
    if (options.dryRun) {
      const { body } = await client.post<{ history: HistoryPreview }>('/v1/replays', {
        history,
        generation,
        dryRun: true,
      })
      return options.json ? sayJson(body.history) : say(previewText(body.history, generation))
    }
    const { rate: ratePerSecond, ramp, stopAt: stopAtShare } = options
    const request = { history, generation, reason: reasonOf(options), ratePerSecond, ramp, stopAtShare }
    const { body } = await client.post<{ replay: number; total: number }>(
      '/v1/replays',
      request,
      keyFor(spokenTimes(options)),
    )
    const { replay, total } = body
    if (options.detach) return options.json ? sayJson(body) : say(`replay ${replay}: of ${total} positions`)
    if (!options.json)
      say(`replay ${replay}: of ${total} positions of history; tidegate replay stop ${replay} ends it`)
    const ended = await watchReplay(client, replay, {
      clock: systemClock,
      isTerminal: process.stderr.isTTY,
      write: (text) => void process.stderr.write(text),
    })
    if (options.json) sayJson(ended)
    if (ended.failed > 0 || ended.state !== 'done') process.exitCode = exitCodes.notWell
  })
}

/** @throws TidegateError `OPTIONS_INVALID` */
function selectionOf(options: ReplayOptions): object {
  const { to: group, type: types, device, after } = options
  const from = isMoment(options.from) ? options.from.at : undefined
  const until = options.until?.at
  if (group === undefined) throw invalid('which group is to have them?', '--to GROUP')
  if (options.key !== undefined && [options.from, options.until].some((one) => isMoment(one) && one.isAgo))
    throw invalid(
      'how long ago is another time each time, and a key is for one request',
      'say when: --from 2026-11-27T08:00:00Z',
    )
  // What is left out by mistake must not be everything.
  const isSaid = options.from === 'beginning' || [types, device, after, from, until].some((one) => one)
  if (!isSaid)
    throw invalid('which events?', '--type, --device, --from, --until, --after; all: --from beginning')
  return { group, types, device, after, from, until }
}

function addList(replay: Command): void {
  asking(replay.command('list'))
    .description('show replays, of letters and of history, newest first')
    .addOption(new Option('--limit <count>', 'at most so many').argParser(limitOf).default(50))
    .action(async (options: Listing) =>
      list(
        options,
        (client, paging) => client.get<Page<ReplayItem>>('/v1/replays', { ...paging }),
        replaysText,
      ),
    )
}

function addShow(replay: Command): void {
  asking(replay.command('show'))
    .description('show how far a replay is')
    .argument('<replay>', 'its number', letterOf)
    .action(async (number: number, options: Asking) =>
      withApi(options, async (client) => {
        const { body } = await client.get<ReplayItem>(`/v1/replays/${number}`)
        if (options.json) sayJson(body)
        else say(replayText(body))
      }),
    )
}

function addDeed(replay: Command, name: 'stop' | 'resume', description: string): void {
  changing(replay.command(name))
    .description(description)
    .argument('<replay>', 'its number', letterOf)
    .action(async (number: number, options: Changing) =>
      withApi(options, async (client) => {
        const path = `/v1/replays/${number}`
        if (options.dryRun) {
          const { body } = await client.get<ReplayItem>(path)
          return options.json ? sayJson(body) : say(`would ${name} this one:\n${replayText(body)}`)
        }
        const { body } = await client.post<ReplayItem>(
          `${path}/${name}`,
          { reason: reasonOf(options) },
          keyFor(options),
        )
        if (options.json) sayJson(body)
        else say(replayText(body))
      }),
    )
}

interface Moment {
  at: string
  /** It was said as how long ago. */
  isAgo: boolean
}

/** As they were understood. */
function spokenTimes({ from, until, ...options }: ReplayOptions): Parameters<typeof keyFor>[0] {
  return {
    ...options,
    ...(from !== undefined && { from: isMoment(from) ? from.at : from }),
    ...(until !== undefined && { until: until.at }),
  }
}

function isMoment(one: Moment | 'beginning' | undefined): one is Moment {
  return typeof one === 'object'
}

function beginningOf(text: string): Moment | 'beginning' {
  return text === 'beginning' ? text : spokenOf(text)
}

function spokenOf(text: string): Moment {
  return { at: momentOf(text), isAgo: !/^\d{4}-/.test(text) }
}

function typeOf(text: string): string {
  if (eventTypePattern.test(text)) return text
  throw new InvalidArgumentError('It must be event types such as com.acme.power, separated by commas.')
}

function cursorOf(text: string): string {
  if (/^\d{1,10}\.\d{1,19}\.\d{1,18}$/.test(text)) return text
  throw new InvalidArgumentError('It must be a cursor of history, such as 28684800.7423.88120.')
}

function generationOf(text: string): string {
  if (generationPattern.test(text)) return text
  throw new InvalidArgumentError('A generation has letters, digits and ._-, at most 64: 2026-fix.')
}

function invalid(message: string, hint: string): TidegateError {
  return new TidegateError('OPTIONS_INVALID', { message, retryable: false, hint })
}
