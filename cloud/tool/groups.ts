import { type Command, Option } from 'commander'
import { durationOf } from '../../src/settings/command-line.ts'
import type { ParkedChanged } from '../api/routes/workplace.ts'
import type { GroupItem, ParkedItem } from '../api/rules/shapes.ts'
import { limitOf } from './filters.ts'
import { list, type Listing, type Page } from './pages.ts'
import { deviceOf, failureCodeOf, groupOf } from './readers.ts'
import {
  type Asking,
  asking,
  type Changing,
  changing,
  keyFor,
  reasonOrNone,
  say,
  sayJson,
  withApi,
} from './session.ts'
import { groupsText, parkedText } from './text.ts'

/** `tidegate groups` */
export function registerGroupsCommand(program: Command): void {
  const groups = program.command('groups').description('consumer groups, and how they are')
  asking(groups.command('list'))
    .description('show all of them')
    .action(async (options: Asking) =>
      withApi(options, async (client) => {
        const { body } = await client.get<{ items: GroupItem[] }>('/v1/groups')
        if (options.json) sayJson(body)
        else say(groupsText(body.items))
      }),
    )
  addPause(groups)
  addResume(groups)
}

function addPause(groups: Command): void {
  changing(groups.command('pause'))
    .description('have a group take nothing, in all instances; its queues keep everything')
    .argument('<group>', 'its name', groupOf)
    .addOption(
      new Option('--for <duration>', 'else until somebody resumes it').argParser(
        durationOf({ min: '1s', max: '30d' }),
      ),
    )
    .action(async (group: string, { for: forMs, ...options }: Changing & { for?: number }) =>
      withApi(options, async (client) => {
        const { dryRun = false } = options
        const request = { reason: reasonOrNone(options), dryRun, ...(forMs !== undefined && { forMs }) }
        const { body } = await client.post(`/v1/groups/${group}/pause`, request, keyFor(options))
        if (options.json) sayJson(body)
        else if (dryRun) say(`would pause ${group}`)
        else say(`${group} is paused: tidegate groups resume ${group} ends it`)
      }),
    )
}

function addResume(groups: Command): void {
  changing(groups.command('resume'))
    .description('have a group work again, whoever paused it and why ever it tripped')
    .argument('<group>', 'its name', groupOf)
    .action(async (group: string, options: Changing) =>
      withApi(options, async (client) => {
        const { dryRun = false } = options
        const request = { reason: reasonOrNone(options), dryRun }
        const { body } = await client.post(`/v1/groups/${group}/resume`, request, keyFor(options))
        if (options.json) sayJson(body)
        else if (dryRun) say(`would resume ${group}`)
        else say(`${group} works again`)
      }),
    )
}

/** `tidegate parked` */
export function registerParkedCommand(program: Command): void {
  const parked = program.command('parked').description('devices whose events wait behind one that fails')
  asking(parked.command('list'))
    .description('show those of a group, by ID')
    .argument('<group>', 'its name', groupOf)
    .addOption(new Option('--limit <count>', 'at most so many').argParser(limitOf).default(50))
    .option('--exit-code', 'end with 1 if there is anything')
    .action(async (group: string, options: Listing) =>
      list(
        options,
        (client, paging) => client.get<Page<ParkedItem>>(`/v1/groups/${group}/parked`, paging),
        parkedText,
      ),
    )
  addChange(
    parked.command('release').description('have parked devices tried now: all, one, or those of a code'),
    'release',
    'tried now',
  )
  addChange(
    parked
      .command('skip')
      .description('make a dead letter of the event that waits first, if it has failed')
      .option('--all', 'of all that wait, and not of the first alone'),
    'skip',
    'skipped',
  )
}

type ChangingParked = Changing & { code?: string; all?: boolean }

function addChange(command: Command, deed: 'release' | 'skip', done: string): void {
  changing(command)
    .argument('<group>', 'its name', groupOf)
    .argument('[device]', 'its ID; else all of the group', deviceOf)
    .addOption(new Option('--code <code>', 'those whose last failure had this').argParser(failureCodeOf))
    .action(async (group: string, device: string | undefined, options: ChangingParked) =>
      withApi(options, async (client) => {
        const { dryRun = false, code, all } = options
        const asked = {
          ...(device !== undefined && { device }),
          ...(code !== undefined && { code }),
          ...(all && { what: 'all' }),
        }
        const request = { ...asked, reason: reasonOrNone(options), dryRun }
        const path = `/v1/groups/${group}/parked/${deed}`
        const { body } = await client.post<ParkedChanged>(path, request, keyFor(options))
        if (options.json) return sayJson(body)
        const { devices, inHand } = body
        const rest = inHand > 0 ? `; ${inHand} are being tried at this moment, ask again for those` : ''
        say(`${devices} parked devices of ${group} ${dryRun ? 'would be' : 'are'} ${done}${rest}`)
      }),
    )
}
