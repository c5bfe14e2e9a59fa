import type { Client } from './client.ts'
import { type Command, Option } from 'commander'
import { durationOf, listOf } from '../../src/settings/command-line.ts'
import { userName } from '../os-user.ts'
import { allRoutes } from '../api/routes/all.ts'
import { openapiOf } from '../api/routes/openapi.ts'
import { roleNames } from '../api/rules/roles.ts'
import { groupOf, keyOf } from './readers.ts'
import {
  type Asking,
  asking,
  type Changing,
  changing,
  complain,
  keyFor,
  reasonOf,
  say,
  sayJson,
  withApi,
} from './session.ts'
import { shortTime } from './text.ts'

interface Minting extends Asking {
  reason?: string
  key?: string
  role: string[]
  for: number
  subject?: string
  groups?: string[]
  types?: string[]
}

interface Token {
  jti: string
  subject: string
  roles: string[]
  issuedAt: string
  expiresAt: string
  revokedAt: string | null
}

/** `tidegate token` */
export function registerTokenCommand(program: Command): void {
  const token = program.command('token').description('tokens of the API: who may ask it from elsewhere')
  addMint(token)
  changing(token.command('revoke'))
    .description('take a token back, for good')
    .argument('<jti>', 'its ID, as token list shows it')
    .action(async (jti: string, options: Changing) =>
      withApi(options, async (client) => {
        if (options.dryRun) return say(await wouldRevoke(client, jti))
        const path = `/v1/tokens/${encodeURIComponent(jti)}/revoke`
        const { body } = await client.post<Token>(path, { reason: reasonOf(options) }, keyFor(options))
        if (options.json) sayJson(body)
        else say(`${jti} is good no longer`)
      }),
    )
  asking(token.command('list'))
    .description('show the tokens that have not expired')
    .action(async (options: Asking) =>
      withApi(options, async (client) => {
        const { body } = await client.get<{ items: Token[] }>('/v1/tokens')
        if (options.json) return sayJson(body)
        say(body.items.length === 0 ? 'no tokens' : body.items.map(tokenText).join('\n'))
      }),
    )
}

/** It looks, and changes nothing. A token of an identity provider is on no list before it is taken back. */
async function wouldRevoke(client: Client, jti: string): Promise<string> {
  const { body } = await client.get<{ items: Token[] }>('/v1/tokens')
  const found = body.items.find((token) => token.jti === jti)
  if (found === undefined)
    return `would take ${jti} back, which is none that was minted here and has not expired`
  if (found.revokedAt !== null) return `${jti} was taken back at ${found.revokedAt}: nothing would change`
  return `would take ${jti} back, of ${found.subject} (${found.roles.join(', ')}), good until ${found.expiresAt}`
}

function addMint(token: Command): void {
  asking(token.command('mint'))
    .description('make a token, on the machine of the cloud; it is all that is printed on standard output')
    .addOption(new Option('--role <role...>', 'what it may').choices(roleNames).makeOptionMandatory())
    .addOption(
      new Option('--for <duration>', 'at most 12h; of the role gateway alone 366d')
        .argParser(durationOf({ min: '1m', max: '366d' }))
        .default(8 * 3_600_000, '8h'),
    )
    .option('--subject <name>', 'whom its deeds are put down to; else you')
    .option('--reason <text>', 'why; it is on record')
    .addOption(
      new Option('--key <uuid>', 'of a deed whose answer was lost: it is done once').argParser(keyOf),
    )
    .addOption(new Option('--groups <names>', 'for these consumer groups alone').argParser(listOf(groupOf)))
    .addOption(new Option('--types <types>', 'for these event types alone').argParser(listOf((text) => text)))
    .action(async ({ role, for: forMs, subject = userName(), groups, types, ...options }: Minting) =>
      withApi(options, async (client) => {
        const wish = { reason: reasonOf(options), subject, roles: role, forMs, groups, types }
        const { body } = await client.post<{ token: string; jti: string; expiresAt: string }>(
          '/v1/tokens',
          wish,
          keyFor(options),
        )
        if (options.json) return sayJson(body)
        say(body.token)
        complain(`token ${body.jti} of ${subject}, until ${body.expiresAt}; put it into TIDEGATE_TOKEN`)
      }),
    )
}

function tokenText({ jti, subject, roles, expiresAt, revokedAt }: Token): string {
  const until = revokedAt === null ? `until ${shortTime(expiresAt)}` : `taken back ${shortTime(revokedAt)}`
  return `${jti}  ${subject}\n  ${roles.join(', ')}  ${until}`
}

/** `tidegate api` */
export function registerApiCommand(program: Command): void {
  program
    .command('api')
    .description('the HTTP API of the cloud')
    .command('spec')
    .description('print its OpenAPI 3.1 document; it needs no cloud (as a page: tidegate asyncapi --html)')
    .action(() => void process.stdout.write(`${JSON.stringify(openapiOf(allRoutes), undefined, 2)}\n`))
}
