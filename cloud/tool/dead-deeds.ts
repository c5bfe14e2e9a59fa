import { readFileSync } from 'node:fs'
import { type Command, Option } from 'commander'
import { systemClock } from '../../src/clock.ts'
import { codeOf, messageOf, TidegateError } from '../../src/errors.ts'
import { listOf, wholeNumber } from '../../src/settings/command-line.ts'
import type { Discarded, JsonPatch } from '../deeds/deeds.ts'
import type { FailureGroup, LetterWhole, ReplayItem } from '../api/rules/shapes.ts'
import { filterIn, filtering, type FilterOptions, letterOf } from './filters.ts'
import { previewText, type Preview } from './preview.ts'
import { watchReplay } from './progress.ts'
import { type Place, placeOf, rateOf, settingOf, shareOf } from './readers.ts'
import {
  type Changing,
  changing,
  complain,
  exitCodes,
  keyFor,
  reasonOf,
  reasonOrNone,
  say,
  sayJson,
  withApi,
} from './session.ts'

export function registerDeadDeeds(dead: Command): void {
  addReplay(dead)
  addStop(dead)
  addEdit(dead)
  addAdmit(dead)
  addDiscard(dead)
  addNote(dead)
}

interface ReplayOptions extends Changing, FilterOptions {
  rate?: number
  ramp?: number[]
  stopAt?: number
  detach?: boolean
  believe?: boolean
}

function addReplay(dead: Command): void {
  filtering(changing(dead.command('replay')))
    .description('send letters back to their group, and show how it goes')
    .argument('[letter]', 'its number; or say which with options', letterOf)
    .addOption(new Option('--rate <rate>', 'letters in a second, 50/s').argParser(rateOf))
    .addOption(
      new Option(
        '--ramp <counts>',
        'so many, and no more until they are settled; then the next: 1,10,100',
      ).argParser(listOf(wholeNumber({ max: 10_000_000 }))),
    )
    .addOption(
      new Option('--stop-at <share>', 'stop when more than so much of a step failed: 10%').argParser(shareOf),
    )
    .option('--believe', 'also what was never believed to come from where it says, as forgeries are')
    .option('--detach', 'do not wait for the end')
    .action(async (letter: number | undefined, options: ReplayOptions) =>
      withApi(options, async (client) => {
        const filter = filterIn(options, letter)
        if (options.dryRun) {
          const { body } = await client.post<{ preview: Preview }>('/v1/replays', { filter, dryRun: true })
          if (options.json) sayJson(body.preview)
          else say(previewText(body.preview))
          if (body.preview.schema.refused > 0) process.exitCode = exitCodes.notWell
          return
        }
        const how = {
          ratePerSecond: options.rate,
          ramp: options.ramp,
          stopAtShare: options.stopAt,
          believe: options.believe,
        }
        const request = { filter, reason: reasonOf(options), ...how }
        const { body } = await client.post<{ replay: number; total: number }>(
          '/v1/replays',
          request,
          keyFor(options),
        )
        if (options.detach)
          return options.json ? sayJson(body) : say(`replay ${body.replay}: ${body.total} letters`)
        if (!options.json)
          say(`replay ${body.replay}: ${body.total} letters; tidegate dead stop ${body.replay} ends it`)
        const ended = await watchReplay(client, body.replay, {
          clock: systemClock,
          isTerminal: process.stderr.isTTY,
          write: (text) => void process.stderr.write(text),
        })
        if (options.json) sayJson(ended)
        if (ended.failed > 0 || ended.state !== 'done') process.exitCode = exitCodes.notWell
      }),
    )
}

function addStop(dead: Command): void {
  changing(dead.command('stop'))
    .description('send nothing more of a replay; what is on its way is settled')
    .argument('<replay>', 'its number', letterOf)
    .action(async (replay: number, options: Changing) =>
      withApi(options, async (client) => {
        const path = `/v1/replays/${replay}`
        if (options.dryRun) return say(wouldStop((await client.get<ReplayItem>(path)).body))
        const { body } = await client.post<ReplayItem>(
          `${path}/stop`,
          { reason: reasonOf(options) },
          keyFor(options),
        )
        if (options.json) sayJson(body)
        else
          say(
            `replay ${replay} is ${body.state}: ${body.resolved} of ${body.total} resolved, ${body.failed} failed`,
          )
      }),
    )
}

function wouldStop({ replay, state, sent, total }: ReplayItem): string {
  if (state !== 'running') return `replay ${replay} is ${state}: nothing would change`
  return `would stop replay ${replay}, which has sent ${sent} of ${total} letters`
}

interface EditOptions extends Changing {
  set?: { op: 'add'; path: string; value: unknown }[]
  patch?: string
  undo?: boolean
}

function addEdit(dead: Command): void {
  changing(dead.command('edit'))
    .description('correct the data of a letter for its next replay; what came stays as it is')
    .argument('<letter>', 'its number', letterOf)
    .addOption(
      new Option('--set <change>', 'a value within data: /kpa=101.3; may be there more than once').argParser(
        settingOf,
      ),
    )
    .option('--patch <file>', 'a JSON Patch (RFC 6902), its paths within data')
    .option('--undo', 'take the edit back')
    .action(async (letter: number, options: EditOptions) =>
      withApi(options, async (client) => {
        const patch = patchOf(options)
        const path = `/v1/dead-letters/${letter}`
        const { etag } = await client.get<LetterWhole>(path)
        const { dryRun = false } = options
        const request = { reason: reasonOrNone(options), dryRun, patch }
        const { body } = await client.post<{ state: string }>(`${path}/edit`, request, {
          ...keyFor(options),
          etag,
        })
        if (options.json) sayJson(body)
        else if (dryRun)
          say(`would edit letter ${letter}, which is ${body.state}:\n${JSON.stringify(patch, undefined, 2)}`)
        else say(`letter ${letter} is edited for its next replay: tidegate dead replay ${letter}`)
      }),
    )
}

function patchOf({ set = [], patch, undo }: EditOptions): JsonPatch {
  if (undo) return []
  const read = patch === undefined ? [] : patchIn(patch)
  if (read.length + set.length > 0) return [...read, ...set]
  throw new TidegateError('OPTIONS_INVALID', {
    message: 'what is to be changed?',
    retryable: false,
    hint: '--set /kpa=101.3, or --patch FILE, or --undo',
  })
}

function patchIn(file: string): JsonPatch {
  try {
    const patch: unknown = JSON.parse(readFileSync(file, 'utf8'))
    if (Array.isArray(patch)) return patch as JsonPatch
    throw new Error('it is no list of operations')
  } catch (cause) {
    throw new TidegateError('OPTIONS_INVALID', {
      message: `the patch ${file} cannot be used: ${messageOf(cause)} (${codeOf(cause)})`,
      retryable: false,
      hint: 'a JSON Patch is a list: [{ "op": "replace", "path": "/kpa", "value": 101.3 }]',
      cause,
    })
  }
}

function addAdmit(dead: Command): void {
  changing(dead.command('admit'))
    .description('make an event of a quarantined reading, once its schema or its route was mended')
    .argument('<place>', 'gateway/epoch/sequence, as dead quarantine shows it', placeOf)
    .option('--type <type>', 'its event type, if the gateway did not know it')
    .action(async (place: Place, { type, ...options }: Changing & { type?: string }) =>
      withApi(options, async (client) => {
        const { gateway, epoch, sequence } = place
        const { dryRun = false } = options
        const path = `/v1/quarantine/${gateway}/${epoch}/${sequence}/admit`
        const request = { reason: reasonOrNone(options), dryRun, ...(type !== undefined && { type }) }
        const { body } = await client.post<Place & { type: string; id: string }>(
          path,
          request,
          keyFor(options),
        )
        if (options.json) sayJson(body)
        else if (dryRun) say(`would admit ${gateway}/${epoch}/${sequence} as ${body.type} ${body.id}`)
        else say(`admitted as ${body.type} ${body.id}, ${body.gateway}/${body.epoch}/${body.sequence}`)
      }),
    )
}

function addDiscard(dead: Command): void {
  filtering(changing(dead.command('discard')))
    .description('close letters that are not to be processed')
    .argument('[letter]', 'its number; or say which with options', letterOf)
    .action(async (letter: number | undefined, options: Changing & FilterOptions) =>
      withApi(options, async (client) => {
        const filter = filterIn(options, letter)
        const { dryRun = false } = options
        const request = { filter, dryRun, reason: reasonOrNone(options) }
        const key = keyFor(options)
        const ask = async (): Promise<Answered> =>
          (await client.post<Answered>('/v1/dead-letters/discard', request, key)).body
        let body = await ask()
        // Of many it answers now and then, and goes on under the same key.
        while (body.done === false) {
          complain(`discarded ${body.discarded} of ${body.total ?? 'more than 100000'} letters`)
          body = await ask()
        }
        if (options.json) sayJson(body)
        else if (dryRun) say(`would discard ${discardable(body)} letters`)
        else say(`discarded ${body.discarded} letters`)
      }),
    )
}

/** A cloud of before does not say `done`: it is. */
type Answered = Omit<Discarded, 'done'> & Partial<Pick<Discarded, 'done'>>

/** What is not counted to its end is more; a cloud of before counted all. */
function discardable({ discarded, total }: Answered): string {
  return total === undefined && discarded >= 100_000 ? `more than ${discarded}` : `${discarded}`
}

interface NoteOptions extends Changing {
  note?: string
  owner?: string
  issue?: string
  status?: string
}

function addNote(dead: Command): void {
  changing(dead.command('note'))
    .description('say something of a failure group: a note, whose it is, muted, resolved')
    .argument('<fingerprint>', 'as dead groups shows it')
    .option('--note <text>', 'what is known of it')
    .option('--owner <name>', 'who looks after it')
    .option('--issue <text>', 'where it is tracked')
    .addOption(
      new Option('--status <status>', 'resolved: a new letter makes it regressed').choices([
        'open',
        'muted',
        'resolved',
      ]),
    )
    .action(async (fingerprint: string, { note, owner, issue, status, ...options }: NoteOptions) =>
      withApi(options, async (client) => {
        const path = `/v1/failure-groups/${encodeURIComponent(fingerprint)}`
        const { body: before, etag } = await client.get<FailureGroup>(path)
        const change = { note, owner, issue, status }
        if (options.dryRun) return say(wouldChange(before, change))
        const { body } = await client.patch(
          path,
          { reason: reasonOf(options), ...change },
          { ...keyFor(options), etag },
        )
        if (options.json) sayJson(body)
        else complain(`${fingerprint} is changed`)
      }),
    )
}

/** What is there, and what would be there instead. */
function wouldChange(
  before: FailureGroup,
  change: Readonly<Record<'note' | 'owner' | 'issue' | 'status', string | undefined>>,
): string {
  const changes = Object.entries(change).flatMap(([name, value]) => {
    const now = before[name as keyof typeof change]
    return value === undefined || value === now ? [] : [`  ${name}: ${now ?? 'none'} -> ${value}`]
  })
  if (changes.length === 0) return `${before.fingerprint} is so already: nothing would change`
  return [`would change ${before.fingerprint}, of ${before.group}:`, ...changes].join('\n')
}
