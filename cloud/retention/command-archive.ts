import { randomUUID } from 'node:crypto'
import { userInfo } from 'node:os'
import { type Command, Option } from 'commander'
import { TidegateError } from '../../src/errors.ts'
import { durationOf } from '../../src/settings/command-line.ts'
import { askingForDatabase, type DatabaseChoice } from '../database-choice.ts'
import { owning, say } from './owning.ts'
import type { Deed } from '../deeds/deeds.ts'
import type { OwnerSession } from './owner-postgres.ts'
import type { Retirable } from './partitions-postgres.ts'

interface ArchiveOptions extends DatabaseChoice {
  olderThan?: number
  partition?: string
  to: string
  drop?: boolean
  dryRun?: boolean
  reason?: string
}

export function addArchive(history: Command): void {
  askingForDatabase(history.command('archive'))
    .description(
      'write partitions to files, read these back, and with --drop put that on record and drop the partitions',
    )
    .option(
      '--older-than <duration>',
      'those in which nothing was recorded, stored or brought back for so long; longer than history.dedupWindow and the longest outage',
      durationOf({ min: '15d' }),
    )
    .addOption(
      new Option('--partition <name>', 'this one, however old it is, if its time is over').conflicts(
        'olderThan',
      ),
    )
    .requiredOption('--to <folder>', 'where the archives are to lie; one for each database')
    .option('--drop', 'drop what was archived')
    .option('--reason <text>', 'with --drop: why, for whoever reads the record later')
    .option('--dry-run', 'say which they are, and do nothing')
    .action(async (options: ArchiveOptions) => {
      const { olderThan, partition, drop, dryRun, reason } = options
      if (olderThan === undefined && partition === undefined)
        throw wrong('which partitions?', 'name --older-than or --partition')
      if (drop && !dryRun && reason === undefined)
        throw wrong('why is it dropped?', 'give a --reason: it is put on record')
      await owning(options, async (owner) => {
        const due = await chosen(owner, options)
        if (due.length === 0) say('no partition is due')
        for (const standing of due) await archive(standing, owner, options)
      })
    })
}

async function chosen(
  { query, clock }: OwnerSession,
  { olderThan, partition }: ArchiveOptions,
): Promise<Retirable[]> {
  const { isDue, listPartitions, retirable } = await import('./partitions-postgres.ts')
  const all = await listPartitions(query, { count: false })
  const nowMs = clock.now()
  if (partition === undefined)
    return all.filter((one) => isDue(one, { nowMs, olderThanMs: olderThan ?? Infinity }))
  return [retirable(partition, all, nowMs)]
}

async function archive(
  standing: Retirable,
  owner: OwnerSession,
  { to: folder, drop, dryRun, reason }: ArchiveOptions,
): Promise<void> {
  const { partition } = standing
  const { archivePartition, retirePartition } = await import('./retire-postgres.ts')
  if (dryRun) return say(`${partition} would be archived${drop ? ' and dropped' : ''}`)
  const archived = await archivePartition(standing, { owner, folder })
  const { path, manifest } = archived
  say(`${partition}: ${manifest.events} events in ${path}, SHA-256 ${manifest.sha256}`)
  if (!drop) return
  const { kept } = await retirePartition(archived, deedOf(reason), owner)
  say(`${partition} is dropped, on record in the cloud's own ledger; ${kept} of its events stay`)
}

export function addAttach(history: Command): void {
  askingForDatabase(history.command('attach'))
    .description('bring an archive back into history, verified')
    .argument('<file>', 'the archive; its manifest lies beside it')
    .requiredOption('--reason <text>', 'why, for whoever reads the record later')
    .action(async (file: string, options: DatabaseChoice & { reason: string }) => {
      const { attachArchive } = await import('./attach-postgres.ts')
      const attach = (owner: OwnerSession): ReturnType<typeof attachArchive> =>
        attachArchive(file, deedOf(options.reason), owner)
      const { partition, events } = await owning(options, attach)
      say(`${events} events are in ${partition} again, on record in the cloud's own ledger`)
    })
}

function deedOf(reason = ''): Omit<Deed<unknown>, 'request'> {
  const by = { actor: `local:${userInfo().username}`, roles: ['admin'] }
  return { key: randomUUID(), by, reason }
}

function wrong(message: string, hint: string): TidegateError {
  return new TidegateError('OPTIONS_INVALID', { message, retryable: false, hint })
}
