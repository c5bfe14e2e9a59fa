import type { Command } from 'commander'
import { askingForDatabase, type DatabaseChoice, openChosenDatabase } from '../database-choice.ts'
import { addArchive, addAttach } from './command-archive.ts'
import { owning, say } from './owning.ts'
import type { Attachment, OtherEvents, PartitionStanding } from './partitions-postgres.ts'

const examples = `
Examples:
  tidegate history partitions --config cloud.yaml
  tidegate history archive --older-than 400d --to /srv/archive --drop --reason 'kept for 400 days' --config cloud.yaml
  tidegate history attach /srv/archive/events_20250106-5f2d1c8a9b3e4f60.jsonl.gz --reason 'audit 2026' --config cloud.yaml

As a member of tidegate_owner: the running cloud may drop nothing.`

/** `tidegate history` */
export function registerHistoryCommand(program: Command): void {
  const history = program
    .command('history')
    .description('the partitions of history: what is in them, retention, and what was archived')
    .addHelpText('after', examples)
  askingForDatabase(history.command('partitions'))
    .description('list the partitions, what they take, and what is amiss with them')
    .option('--count', 'count the events and find the oldest and the newest, which reads all of history')
    .option('--json', 'one JSON object, for programs')
    .action(showPartitions)
  askingForDatabase(history.command('index'))
    .description('make the indexes that partitions lack, while everything works')
    .action(makeIndexes)
  addArchive(history)
  addAttach(history)
}

async function showPartitions(options: DatabaseChoice & { json?: boolean; count?: boolean }): Promise<void> {
  const { listAttachments, listPartitions, otherEvents } = await import('./partitions-postgres.ts')
  const { reading } = await import('./owner-postgres.ts')
  const database = await openChosenDatabase(options, 'tidegate-history')
  try {
    const { partitions, other, archives } = await reading(database, async (query) => ({
      partitions: await listPartitions(query, { count: options.count === true }),
      other: await otherEvents(query),
      archives: await listAttachments(query),
    }))
    if (options.json) say(JSON.stringify({ partitions, other, archives }))
    else
      say(
        [...partitions.map((one) => formatPartition(one, other)), ...archives.map(formatAttachment)].join(
          '\n',
        ),
      )
  } finally {
    await database.close()
  }
}

async function makeIndexes(options: DatabaseChoice): Promise<void> {
  const { indexPartitions } = await import('./indexes-postgres.ts')
  const made = await owning(options, (owner) => indexPartitions(owner, (name) => say(`making ${name}`)))
  say(made.length === 0 ? 'no index is missing' : `${made.length} made`)
}

function formatAttachment({ archive, events, attached, isOurs }: Attachment): string {
  if (attached === null)
    return `${archive}  BROKEN OFF while it was attached: attach it again, or tidegate history detach`
  const many = `${events.toLocaleString('en')} events`
  return `${archive}  attached ${attached}  ${many}${isOurs ? '' : ', of another database'}`
}

function formatPartition(standing: PartitionStanding, other: OtherEvents): string {
  const { partition, from, until, events, isCounted, bytes, newestStored, missingIndexes } = standing
  const { oldestRecorded, newestRecorded } = standing
  const many = `${isCounted ? '' : 'about '}${events.toLocaleString('en')} events`
  const span = until === null ? 'what belongs to no other' : `${day(from)} to ${day(until)}`
  const { kept, late, ahead } = other
  const notes = [
    oldestRecorded === null ? '' : `recorded ${oldestRecorded} to ${newestRecorded}`,
    newestStored === null ? '' : `the newest stored ${newestStored}`,
    until === null && events > 0
      ? `${kept} kept of partitions that were retired, ${late} late for one that was, ${ahead} of clocks that are ahead`
      : '',
    missingIndexes.length > 0 ? `LACKS ${missingIndexes.join(', ')}: tidegate history index` : '',
  ]
  return [
    `${partition}  ${span}  ${many}, ${megabytes(bytes)} MB`,
    ...notes.filter((note) => note !== '').map((note) => `    ${note}`),
  ].join('\n')
}

function day(time: string | null): string {
  return time === null ? 'the beginning' : time.slice(0, 10)
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toLocaleString('en', { maximumFractionDigits: 1 })
}
