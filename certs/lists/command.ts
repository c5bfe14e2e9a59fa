import { type Command, InvalidArgumentError, Option } from 'commander'
import { amqpWay } from '../../src/amqp/address.ts'
import { refuseInClear } from '../../src/settings/in-clear.ts'
import { loadClientTls } from '../../src/settings/client-tls.ts'
import { withPassword } from '../../src/settings/password-file.ts'
import { onFolder, openedAuthority } from '../command-parts.ts'

const examples = `
Example, on the machine of the CA:
  tidegate certs revoke boiler-7
  tidegate lists publish --gateways gateway-1 gateway-2 --url amqps://lists@broker.example --password-file lists.password --ca ca.crt

Gateways with uplink.lists go by them within seconds; those that are away, when they are back.`

interface PublishChoice {
  dir: string
  url: string
  passwordFile?: string
  auth: 'password' | 'certificate'
  ca?: string
  cert?: string
  key?: string
  insecure?: boolean
  denied?: string
  nobodyDenied?: boolean
  withoutCrl?: boolean
  gateways: string[]
}

export interface ListsSurroundings {
  /** Takes one line of output, without its line end; default: standard output. */
  say?: (line: string) => void
  now?: () => Date
}

/** `tidegate lists` */
export function registerListsCommand(
  program: Command,
  { say = (line) => void process.stdout.write(`${line}\n`), now = () => new Date() }: ListsSurroundings = {},
): void {
  const lists = program
    .command('lists')
    .description('tell all gateways at once which devices are not to be let in')
    .addHelpText('after', examples)
  onFolder(lists, 'publish', 'sign the revocation list of a CA and who is denied, and publish them')
    .requiredOption('--url <url>', 'RabbitMQ, and a user who may make the exchange and queues of lists')
    .option('--password-file <file>', "holds that user's password")
    .addOption(authOption())
    .option('--ca <file>', 'the CA of the broker, PEM')
    .option('--cert <file>', 'what is shown to the broker, PEM')
    .option('--key <file>', 'its key')
    .option('--insecure', 'go in clear to another machine')
    .option(
      '--denied <file>',
      'as mqtt.tls.denied has it (default: who is suspended, else as published before)',
    )
    .option('--nobody-denied', 'deny nobody, whoever was before')
    .option('--without-crl', 'publish without a revocation list, where there never was one')
    .option('--gateways <names...>', 'make a queue for these gateways, unless they have one', [])
    .action(async (choice: PublishChoice) => say(await publish(choice, now())))
}

function authOption(): Option {
  return new Option('--auth <way>', 'who publishes is proven by')
    .choices(['password', 'certificate'])
    .default('password')
}

/** What became of it, for a person. */
async function publish(choice: PublishChoice, now: Date): Promise<string> {
  const { dir, auth, gateways, denied: deniedFile, nobodyDenied, withoutCrl, insecure = false } = choice
  const tls = tlsOf(choice, now)
  refuseInClear({ key: 'broker.url', insecure, ...amqpWay(choice.url, tls !== undefined) })
  const url = withPassword(choice.url, choice.passwordFile)
  const authority = await openedAuthority(dir, now)
  const { signNextLists } = await import('./lists.ts')
  const { publishLists } = await import('./lists-rabbit.ts')
  const signed = await signNextLists(authority, { deniedFile, nobodyDenied, withoutCrl, now })
  const isRouted = await publishLists(JSON.stringify(signed), { url, auth, tls, gateways })
  return isRouted
    ? `lists ${signed.number} are published`
    : `lists ${signed.number} are published, and no gateway has a queue for them yet: name them with --gateways`
}

function tlsOf({ ca, cert, key }: PublishChoice, now: Date): ReturnType<typeof loadClientTls> | undefined {
  if (ca === undefined) return undefined
  if ((cert === undefined) !== (key === undefined))
    throw new InvalidArgumentError('--cert and --key go together')
  return loadClientTls({ ca, cert, key }, { where: 'the broker (--ca, --cert, --key)', now })
}
