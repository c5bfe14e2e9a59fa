import { type Command, Option } from 'commander'
import { durationOf } from '../../src/settings/command-line.ts'
import type { GroupItem } from '../api/rules/shapes.ts'
import { groupOf } from './readers.ts'
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
import { groupsText } from './text.ts'

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
