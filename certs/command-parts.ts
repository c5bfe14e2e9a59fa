import type { Command } from 'commander'
import { Option } from 'commander'
import { wholeNumber } from '../src/settings/command-line.ts'
import type { Authority } from './authority.ts'
import type { IssuedCertificate } from './issue.ts'

/** What every `tidegate certs …` is given. */
export interface Parts {
  /** `tidegate certs`, which takes the commands. */
  certs: Command
  say: (line: string) => void
  now: () => Date
  onAlarm: () => void
}

/** The options of every command that issues. */
export interface IssueOptions {
  dir: string
  days?: number
  force?: boolean
  key?: 'ecdsa' | 'rsa'
}

export const defaultDir = '.tidegate/pki'
export const countOf = wholeNumber({ max: 999_999 })

/** A command that works on the folder of a CA. */
export function onFolder(certs: Command, nameAndArguments: string, description: string): Command {
  return certs
    .command(nameAndArguments)
    .description(description)
    .option('--dir <dir>', 'the folder of the CA and its certificates', defaultDir)
}

/** A command that makes keys and issues certificates for them. */
export function issuing(certs: Command, nameAndArguments: string, description: string): Command {
  return onFolder(certs, nameAndArguments, description)
    .option('--days <days>', 'days of validity', countOf)
    .option('--force', 'issue anew even if a good certificate is there')
    .addOption(keyOption())
}

/** Of what a new key is. */
export function keyOption(): Option {
  return new Option('--key <kind>', 'of a new key: ECDSA P-256, or RSA 3072 for what knows nothing else')
    .choices(['ecdsa', 'rsa'])
    .default('ecdsa')
}

export function sayIssued(say: Parts['say'], { certFile, keyFile, issued }: IssuedCertificate): void {
  say(`${issued ? 'issued' : 'kept  '}  ${certFile}  ${keyFile}`)
}

/** The signing parts are loaded when something is signed; every other command starts without them. */
export async function openedAuthority(dir: string, now: Date): Promise<Authority> {
  const { openAuthority } = await import('./authority.ts')
  return openAuthority(dir, { now })
}

export function daysLeftInWords(daysLeft: number): string {
  return daysLeft < 0 ? `expired ${-daysLeft} days ago` : `${daysLeft} days left`
}
