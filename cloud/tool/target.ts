import { readFileSync } from 'node:fs'
import { type Command, Option } from 'commander'
import { codeOf, messageOf, TidegateError } from '../../src/errors.ts'
import { isLoopback } from '../../src/listen.ts'
import { userName } from '../os-user.ts'
import { loadCloudConfig } from '../config.ts'

/** What a person has said of the cloud that a command is about. */
export interface TargetChoice {
  config?: string
  api?: string
  ca?: string
}

/** Where the API is, and what it is to be told of who asks. */
export type Target =
  | { kind: 'socket'; path: string; headers: Record<string, string> }
  | { kind: 'url'; url: string; ca: Buffer | undefined; headers: Record<string, string> }

const urlVariable = 'TIDEGATE_API'
const tokenVariable = 'TIDEGATE_TOKEN'

/** Gives a command the options by which it is told which cloud it is about. */
export function askingForApi(command: Command): Command {
  return command
    .addOption(
      new Option(
        '-c, --config <file>',
        'the cloud’s configuration, on its own machine: its socket, no token needed',
      ).conflicts('api'),
    )
    .option(
      '--api <url>',
      `address of the API, else ${urlVariable}; the token is in ${tokenVariable}, never here`,
    )
    .option('--ca <file>', 'PEM; the CA of the API’s certificate, if it is not one that this machine trusts')
    .option('--json', 'JSON, for programs')
}

/**
 * The cloud that was chosen: by its configuration, else by its address.
 * @throws TidegateError `OPTIONS_INVALID`, `CONNECTION_IN_CLEAR`, `TOKEN_MISSING`, and as `loadCloudConfig` does
 */
export function targetOf({ config, api, ca }: TargetChoice, env: NodeJS.ProcessEnv): Target {
  if (config !== undefined) return socketOf(config, env)
  const url = api ?? env[urlVariable]
  if (url === undefined) {
    throw invalid(
      'which cloud?',
      `on its machine name its configuration (--config), elsewhere its address (--api URL or ${urlVariable})`,
    )
  }
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
    throw invalid(
      'the address of the API is no http:// or https:// URL',
      'such as https://cloud.example:9104',
    )
  const { protocol, hostname, username, password } = new URL(url)
  if (username !== '' || password !== '')
    throw invalid(
      'the address of the API has a user or a password in it',
      `the token goes into ${tokenVariable}`,
    )
  if (protocol === 'http:' && !isLoopback(hostname)) {
    throw new TidegateError('CONNECTION_IN_CLEAR', {
      message: `--api leads to ${hostname} in clear: whoever is on the way reads the token`,
      retryable: false,
      hint: 'use https://',
    })
  }
  const token = env[tokenVariable]
  if (token === undefined || token === '') {
    throw new TidegateError('TOKEN_MISSING', {
      message: `there is no token in ${tokenVariable}`,
      retryable: false,
      hint: 'tidegate token mint --role operator --reason "…" --config cloud.yaml, on the machine of the cloud, makes one',
    })
  }
  const headers = { authorization: `Bearer ${token.trim()}` }
  return { kind: 'url', url, ca: ca === undefined ? undefined : caIn(ca), headers }
}

function socketOf(config: string, env: NodeJS.ProcessEnv): Target {
  const { socket } = loadCloudConfig(config, env).api
  if (socket === undefined) {
    throw invalid(
      `${config} has no api.socket`,
      'set it, such as /run/tidegate/api.sock, and start the cloud anew; or use --api and a token',
    )
  }
  // sudo says for whom it works: the record is to name a person.
  const user = env['SUDO_USER'] ?? userName()
  return { kind: 'socket', path: socket, headers: { 'tidegate-user': user } }
}

function caIn(file: string): Buffer {
  try {
    return readFileSync(file)
  } catch (error) {
    throw invalid(`the CA ${file} cannot be read: ${messageOf(error)} (${codeOf(error)})`, 'see --ca')
  }
}

function invalid(message: string, hint: string): TidegateError {
  return new TidegateError('OPTIONS_INVALID', { message, retryable: false, hint })
}
