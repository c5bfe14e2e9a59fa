import { randomUUID } from 'node:crypto'
import { userInfo } from 'node:os'
import { type Command, InvalidArgumentError } from 'commander'
import { systemClock } from '../../src/clock.ts'
import { askingForDatabase, type DatabaseChoice, openChosenDatabase } from '../database-choice.ts'
import type { AcceptRequest } from './deeds.ts'

interface Options extends DatabaseChoice {
  reason: string
}

type Ledger = Pick<AcceptRequest, 'gateway' | 'epoch'>
type Range = AcceptRequest['ranges'][number]

/** `tidegate audit accept`: on the database itself, as a user that may write (tidegate_writer). */
export function addAcceptCommand(audit: Command): void {
  askingForDatabase(audit.command('accept'))
    .description(
      'put on record that a loss is accepted: the audit says so, by whom and why, and no longer raises the alarm',
    )
    .argument('<ledger>', 'GATEWAY/EPOCH, as the audit names it', ledgerOf)
    .argument('<ranges...>', 'what is missing, as the audit prints it: 17 or 17-20', rangesOf)
    .requiredOption('--reason <text>', 'why, for whoever reads the audit later')
    .action(async (ledger: Ledger, ranges: Range[], _own: unknown, command: Command) => {
      // The database is taken for an option of the command above, wherever it stands.
      const { reason, ...choice } = command.optsWithGlobals<Options>()
      const database = await openChosenDatabase(choice, 'tidegate-audit-accept')
      try {
        const { acceptLoss } = await import('./deeds-postgres.ts')
        const { postgresStorage } = await import('../database/storage-postgres.ts')
        const by = { actor: `local:${userInfo().username}`, roles: ['admin'] }
        const deed = { key: randomUUID(), by, reason, request: { ...ledger, ranges } }
        const parts = {
          storage: postgresStorage(database),
          clock: systemClock,
          random: Math.random,
          signal: new AbortController().signal,
        }
        const { epoch, sequence } = await acceptLoss(deed, parts)
        process.stdout.write(
          `accepted; on record in the cloud's own ledger, epoch ${epoch}, sequence ${sequence}\n`,
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
