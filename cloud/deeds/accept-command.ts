import { randomUUID } from 'node:crypto'
import { type Command, InvalidArgumentError } from 'commander'
import { systemClock } from '../../src/clock.ts'
import { durationOf } from '../../src/settings/command-line.ts'
import { askingForDatabase, type DatabaseChoice, openChosenDatabase } from '../database-choice.ts'
import { userName } from '../os-user.ts'
import type { AcceptRequest } from './deeds.ts'

interface Options extends DatabaseChoice {
  reason: string
  settle?: number
  disbelieve?: boolean
}

type Ledger = Pick<AcceptRequest, 'gateway' | 'epoch'>
type Range = AcceptRequest['ranges'][number]

const vouches = `
An acceptance says who looked into a loss and why it is final. No gateway signs it: what is present stays proven by chain and signature,
but that the gateway has given up what is missing is nowhere proven, in a ledger that is signed as little as in one that is not.`

/** `tidegate audit accept`: on the database itself, as a user that may write (tidegate_writer). */
export function addAcceptCommand(audit: Command): void {
  askingForDatabase(audit.command('accept'))
    .description(
      'put on record that a loss is accepted: the audit says so, by whom and why, and no longer raises the alarm',
    )
    .argument('<ledger>', 'GATEWAY/EPOCH, as the audit names it', ledgerOf)
    .argument('<ranges...>', 'what is missing, as the audit prints it: 17 or 17-20', rangesOf)
    .requiredOption('--reason <text>', 'why, for whoever reads the audit later')
    .option(
      '--settle <duration>',
      'refuse what is known to be missing for less than this: it may still come (default: 10m)',
      durationOf({ min: '0s' }),
    )
    .option(
      '--disbelieve',
      'also what letters of history say that they are and were never believed to be, as forgeries are',
    )
    .addHelpText('after', vouches)
    .action(async (ledger: Ledger, ranges: Range[], _own: unknown, command: Command) => {
      // The database is taken for an option of the command above, wherever it stands.
      const { reason, settle, disbelieve, ...choice } = command.optsWithGlobals<Options>()
      const database = await openChosenDatabase(choice, 'tidegate-audit-accept')
      try {
        const { acceptLoss } = await import('./accept-postgres.ts')
        const { postgresStorage } = await import('../database/storage-postgres.ts')
        const by = { actor: `local:${userName()}`, roles: ['admin'] }
        const request = {
          ...ledger,
          ranges,
          ...(settle !== undefined && { settleMs: settle }),
          ...(disbelieve && { disbelieve }),
        }
        const deed = { key: randomUUID(), by, reason, request }
        const parts = {
          storage: postgresStorage(database),
          clock: systemClock,
          random: Math.random,
          signal: new AbortController().signal,
        }
        const { epoch, sequence } = await acceptLoss(deed, parts)
        process.stdout.write(
          `accepted; on record in the cloud's own ledger, epoch ${epoch}, sequence ${sequence}\n${vouches}\n`,
        )
      } finally {
        await database.close()
      }
    })
}

function ledgerOf(text: string): Ledger {
  const [, gateway, epoch] = /^([^/]+)\/([^/]+)$/.exec(text) ?? []
  if (gateway === undefined || epoch === undefined)
    throw new InvalidArgumentError('A ledger is GATEWAY/EPOCH.')
  return { gateway, epoch }
}

function rangesOf(text: string, before: Range[] | undefined): Range[] {
  const [, from, to] = /^(\d{1,15})(?:[-–](\d{1,15}))?$/.exec(text) ?? []
  if (from === undefined) throw new InvalidArgumentError('A range is 17 or 17-20.')
  return [...(before ?? []), { from: Number(from), to: Number(to ?? from) }]
}
