import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import type { Clock } from '../../src/clock.ts'
import { messageOf } from '../../src/errors.ts'
import { formerDeadQueue, mirrorQueue, partitionQueue, rungName, wire } from '../../src/contract/wire.ts'
import type { Evidence } from './text.ts'
import { quoted } from '../../src/settings/shell.ts'
import { lookIntoOutbox, unreported } from './search-outbox.ts'
import { lookIntoLetters } from './search-letters.ts'
import { lookIntoQueues } from './search-rabbit.ts'
import { search, type Lookout } from './search.ts'
import type { RabbitServer } from '../servers/obtain.ts'
import { demoGroup, groups, ladderMs } from '../stack/config.ts'
import type { Stack } from '../stack/stack.ts'
import type { Audit } from '../watch/audit.ts'
import type { Missing } from '../watch/findings.ts'
import type { HistoryReader } from '../watch/history.ts'
import { tally, type Located } from './whereabouts.ts'

/** In the folder of a run; as long as it is there, no other run begins in that folder. */
const fileName = 'evidence.json'

export function evidenceIn(dir: string): string | undefined {
  const file = join(dir, fileName)
  return existsSync(file) ? file : undefined
}

export interface EvidenceParts {
  stack: Stack
  /** Those that are named are looked for. */
  missing: Missing
  audit: Audit
  history: Pick<HistoryReader, 'absent' | 'lettersOf'>
  env: NodeJS.ProcessEnv
  clock: Clock
}

/**
 * Tells where the events are that the history misses, and leaves what there is for a person to look at. Edge and cloud are stopped
 * first, in good order, as they would be a moment later: nothing moves then while it is looked for, and what was handed to the cloud
 * is back in its queue.
 */
export async function gatherEvidence(
  parts: EvidenceParts,
  signal: AbortSignal,
): Promise<{ evidence: Evidence; located: Located[] }> {
  const { stack, missing, audit, history, env, clock } = parts
  const outbox = { cli: stack.cli, dataDir: stack.edgeDataDir, env }
  await Promise.all([stack.edge, ...stack.clouds].map((program) => program.stop()))
  const lookouts: Lookout[] = [
    { name: 'the outbox', look: (see, signal) => lookIntoOutbox(outbox, see, signal) },
    lookoutOnBroker(stack, clock),
    { name: 'tidegate.dead_letters', look: (see) => lookIntoLetters(missing.first, history, see) },
  ]
  const absent: typeof history.absent = (identities) => history.absent(identities)
  const { located, looked, blind } = await search(missing.first, { lookouts, absent, clock }, signal)
  const evidence: Evidence = {
    folder: stack.dir,
    file: join(stack.dir, fileName),
    missing: missing.count,
    searched: missing.first.length,
    places: tally(located),
    looked,
    blind,
    accounted: accountedIn(audit) + (await unreported(outbox, signal)),
    toLook: howToLook(stack),
  }
  return { evidence, located }
}

/** Writes what is known into the file that the evidence names. Evidence that cannot be kept says so. */
export function keepEvidence(evidence: Evidence, known: object): void {
  try {
    writeFileSync(evidence.file, `${JSON.stringify(known, undefined, 2)}\n`)
  } catch (error) {
    evidence.blind.push(`${evidence.file} could not be written: ${messageOf(error)}`)
  }
}

function lookoutOnBroker(stack: Stack, clock: Clock): Lookout {
  let queues: string[] | undefined
  return {
    name: 'RabbitMQ',
    look: async (see, signal) =>
      lookIntoQueues(
        {
          url: stack.amqpUrl,
          queues: (queues ??= await queuesOf(stack, signal)),
          groups: [...groups, demoGroup],
          clock,
        },
        see,
        signal,
      ),
  }
}

/** Of our own broker every queue there is, of one that was given those that we know by name. */
async function queuesOf(stack: Stack, signal: AbortSignal): Promise<string[]> {
  if (stack.rabbit) return listQueues(stack.rabbit, signal)
  return [
    wire.unroutable,
    ...groups.flatMap((group) => [
      ...Array.from({ length: stack.partitions }, (_, partition) => partitionQueue(group, partition)),
      ...ladderMs.map((delayMs) => rungName(group, delayMs)),
      formerDeadQueue(group),
      mirrorQueue(group),
    ]),
  ]
}

const listedSchema = z.array(z.object({ name: z.string() }))

/** Names. */
export async function listQueues(rabbit: Pick<RabbitServer, 'ctl'>, signal?: AbortSignal): Promise<string[]> {
  const text = await rabbit.ctl(['--quiet', 'list_queues', 'name', '--formatter', 'json'], signal)
  return listedSchema.parse(JSON.parse(text)).map(({ name }) => name)
}

function accountedIn({ ledgers }: Audit): number {
  return ledgers
    .flatMap(({ undelivered }) => Object.values(undelivered))
    .reduce((sum, { count }) => sum + count, 0)
}

function howToLook({ dir, edgeDataDir, rabbit, postgres, logs, configFiles }: Stack): string[] {
  return [
    `npx tidegate outbox inspect --data-dir ${quoted(edgeDataDir)}    # also: verify, export`,
    ...(rabbit || postgres
      ? [
          `npx tidegate dev --servers-only --dir ${quoted(dir)}    # its servers on their data, and nothing that reads from them`,
          `npx tidegate audit --config ${quoted(configFiles.clouds[0] ?? '')}    # while they run: which places of the ledger are missing`,
        ]
      : []),
    `logs: ${[logs.edge, ...logs.clouds].map(quoted).join(' ')}`,
  ]
}
