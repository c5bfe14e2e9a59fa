import { randomUUID } from 'node:crypto'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { codeOf, explain, TidegateError } from '../../src/errors.ts'
import { durationOf } from '../../src/settings/command-line.ts'
import { askingForDatabase, type DatabaseChoice } from '../database-choice.ts'
import { placeText } from '../audit/event.ts'
import type { Deed } from '../deeds/deeds.ts'
import { userName } from '../os-user.ts'
import { owning, say } from './owning.ts'
import type { OwnerSession } from './owner-postgres.ts'
import type { Retirable } from './partitions-postgres.ts'

interface ArchiveOptions extends DatabaseChoice {
  olderThan?: number
  partition?: string
  to: string
  drop?: boolean
  dryRun?: boolean
  reason?: string
  keepFaulty?: boolean
}

export function addArchive(history: Command): void {
  askingForDatabase(history.command('archive'))
    .description(
      'write partitions to files, read these back, and with --drop put that on record and drop the partitions',
    )
    .option(
      '--older-than <duration>',
      'those in which nothing was recorded or stored for so long; longer than history.dedupWindow and the longest outage',
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
    .option(
      '--keep-faulty',
      'archive also partitions in which events are not as they were written: these events stay in history, where the audit names them',
    )
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
        for (const standing of due) await archiveOrSay(standing, owner, options)
      })
    })
}

/** What is amiss with one partition is no matter of the others. */
const ofThePartition: ReadonlySet<string> = new Set([
  'ARCHIVE_REFUSED',
  'ARCHIVE_ALTERED',
  'PARTITION_CHANGED',
  'PARTITION_DEPENDED',
  'HISTORY_LOCKED',
  'HISTORY_SLOW',
])

async function archiveOrSay(
  standing: Retirable,
  owner: OwnerSession,
  options: ArchiveOptions,
): Promise<void> {
  try {
    await archive(standing, owner, options)
  } catch (error) {
    if (!ofThePartition.has(codeOf(error))) throw error
    process.stderr.write(`${standing.partition}: ${explain(error)}\n`)
    process.exitCode = 1
  }
}

async function chosen(owner: OwnerSession, { olderThan, partition }: ArchiveOptions): Promise<Retirable[]> {
  const { dueTime, isDue, listPartitions, nowOf, retirable } = await import('./partitions-postgres.ts')
  const all = await listPartitions(owner.query, { count: false })
  if (partition === undefined) {
    const nowMs = await dueTime(owner, all)
    return all.filter((one) => isDue(one, { nowMs, olderThanMs: olderThan ?? Infinity }))
  }
  // Of two clocks the one that says that less is over.
  return [retirable(partition, all, Math.min(await nowOf(owner.query), owner.clock.now()))]
}

async function archive(
  standing: Retirable,
  owner: OwnerSession,
  { to: folder, drop, dryRun, reason, keepFaulty = false }: ArchiveOptions,
): Promise<void> {
  const { partition } = standing
  const { archivePartition, retirePartition } = await import('./retire-postgres.ts')
  if (dryRun) return say(`${partition} would be archived${drop ? ' and dropped' : ''}`)
  const archived = await archivePartition(standing, { owner, folder, keepFaulty })
  const { path, manifest } = archived
  say(`${partition}: ${manifest.events} events in ${path}, SHA-256 ${manifest.sha256}`)
  for (const one of manifest.faulty.slice(0, faultyShownMax))
    say(`    ${placeText(one)} is not as it was written: ${one.detail}`)
  if (!drop) return
  const { kept } = await retirePartition(archived, deedOf(reason), owner)
  say(`${partition} is dropped, on record in the cloud's own ledger; ${kept} of its events stay`)
}

const faultyShownMax = 10

export function addAttach(history: Command): void {
  askingForDatabase(history.command('attach'))
    .description('make an archive readable in tidegate.archived, verified; history is not touched')
    .argument('<file>', 'the archive; its manifest lies beside it')
    .requiredOption('--reason <text>', 'why, for whoever reads the record later')
    .option(
      '--sha256 <hex>',
      'its SHA-256, known from elsewhere: for an archive of another database',
      sha256Of,
    )
    .action(async (file: string, options: DatabaseChoice & { reason: string; sha256?: string }) => {
      const { attachArchive } = await import('./attach-postgres.ts')
      const { reason, sha256 } = options
      const attach = (owner: OwnerSession): ReturnType<typeof attachArchive> =>
        attachArchive(file, deedOf(reason), { owner, sha256 })
      const { archive, events } = await owning(options, attach)
      say(`${events} events of ${archive} are in tidegate.archived`)
    })
  askingForDatabase(history.command('detach'))
    .description('drop what was attached of an archive; its file is not touched')
    .argument('<archive>', 'its name, as history partitions prints it')
    .requiredOption('--reason <text>', 'why, for whoever reads the record later')
    .action(async (archive: string, options: DatabaseChoice & { reason: string }) => {
      const { detachArchive } = await import('./attach-postgres.ts')
      await owning(options, (owner) => detachArchive(archive, deedOf(options.reason), owner))
      say(`${archive} is detached`)
    })
}

function sha256Of(text: string): string {
  if (/^[0-9a-f]{64}$/i.test(text)) return text
  throw new InvalidArgumentError('It must be 64 hexadecimal digits, as sha256sum prints them.')
}

function deedOf(reason = ''): Omit<Deed<unknown>, 'request'> {
  const by = { actor: `local:${userName()}`, roles: ['admin'] }
  return { key: randomUUID(), by, reason }
}

function wrong(message: string, hint: string): TidegateError {
  return new TidegateError('OPTIONS_INVALID', { message, retryable: false, hint })
}
