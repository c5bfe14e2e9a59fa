import { type Command, Option } from 'commander'
import type {
  FailureGroup,
  LetterItem,
  LetterWhole,
  QuarantineItem,
  ReplayItem,
} from '../api/rules/shapes.ts'
import { registerDeadDeeds } from './dead-deeds.ts'
import { filterIn, filtering, type FilterOptions, letterOf, limitOf } from './filters.ts'
import { list, type Listing, type Page } from './pages.ts'
import { deviceOf, groupOf } from './readers.ts'
import { type Asking, asking, say, sayJson, withApi } from './session.ts'
import { failureGroupsText, lettersText, letterText, quarantineText, replaysText } from './text.ts'

const examples = `
Examples:
  tidegate dead groups --config cloud.yaml
  tidegate dead list --cause 8f3a21c07b6e4d19 --config cloud.yaml
  tidegate dead replay --cause 8f3a21c07b6e4d19 --dry-run --config cloud.yaml
  TIDEGATE_TOKEN=… tidegate dead show 4711 --api https://cloud.example:9104

Exit codes: 0 done, 1 not all is well (with --exit-code: something was found), 2 not understood, 3 refused.`

/** `tidegate dead` */
export function registerDeadCommand(program: Command): void {
  const dead = program
    .command('dead')
    .description('what could not be processed: find it, understand it, repair it, replay it')
    .addHelpText('after', examples)
  addGroups(dead)
  addList(dead)
  asking(dead.command('show'))
    .description('show a letter with its story')
    .argument('<letter>', 'its number', letterOf)
    .action(async (letter: number, options: Asking) =>
      withApi(options, async (client) => {
        const { body } = await client.get<LetterWhole>(`/v1/dead-letters/${letter}`)
        if (options.json) sayJson(body)
        else say(letterText(body))
      }),
    )
  addQuarantine(dead)
  listing(dead.command('replays'))
    .description('show what was replayed, newest first')
    .action(async (options: Listing) =>
      list(
        options,
        (client, paging) => client.get<Page<ReplayItem>>('/v1/replays', { ...paging }),
        replaysText,
      ),
    )
  registerDeadDeeds(dead)
}

function listing(command: Command): Command {
  return asking(command)
    .addOption(new Option('--limit <count>', 'at most so many').argParser(limitOf).default(50))
    .option('--exit-code', 'end with 1 if there is anything')
}

function addGroups(dead: Command): void {
  listing(dead.command('groups'))
    .description('show the causes: letters by what is the same in them')
    .addOption(new Option('--group <name>', 'of this consumer group').argParser(groupOf))
    .option('--code <name>', 'of this error code')
    .addOption(
      new Option('--status <status>', 'else: with open letters, and not muted').choices([
        'open',
        'muted',
        'resolved',
        'regressed',
        'all',
      ]),
    )
    .action(async ({ group, code, status, ...options }: Listing & FilterOptions & { status?: string }) =>
      list(
        options,
        (client, paging) =>
          client.get<Page<FailureGroup>>('/v1/failure-groups', { ...paging, group, code, status }),
        failureGroupsText,
      ),
    )
}

function addList(dead: Command): void {
  filtering(listing(dead.command('list')))
    .description('show letters, newest first')
    .addOption(
      new Option('--state <state>', 'else: open and replaying').choices([
        'open',
        'replaying',
        'resolved',
        'discarded',
        'all',
      ]),
    )
    .action(async (options: Listing & FilterOptions & { state?: string }) =>
      list(
        options,
        (client, paging) =>
          client.get<Page<LetterItem>>('/v1/dead-letters', {
            ...paging,
            ...filterIn(options),
            state: options.state,
          }),
        lettersText,
      ),
    )
}

function addQuarantine(dead: Command): void {
  listing(dead.command('quarantine'))
    .description('show readings that gateways have rejected, newest first')
    .addOption(new Option('--gateway <name>', 'of this gateway').argParser(deviceOf))
    .addOption(new Option('--device <id>', 'of this device').argParser(deviceOf))
    .option('--code <name>', 'why: SCHEMA_VIOLATION, …')
    .action(
      async ({
        gateway,
        device,
        code: reason,
        ...options
      }: Listing & { gateway?: string; device?: string; code?: string }) =>
        list(
          options,
          (client, paging) =>
            client.get<Page<QuarantineItem>>('/v1/quarantine', { ...paging, gateway, device, reason }),
          quarantineText,
        ),
    )
}
