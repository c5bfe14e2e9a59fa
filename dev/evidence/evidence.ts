import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import type { Clock } from '../../src/clock.ts'
import { messageOf } from '../../src/errors.ts'
import { deadQueue, partitionQueue, rungName, wire } from '../../src/contract/wire.ts'
import type { Evidence } from './text.ts'
import { quoted } from '../stack/paths.ts'
import type { Report } from '../report/report.ts'
import { lookIntoOutbox, unreported } from './search-outbox.ts'
import { lookIntoQueues } from './search-rabbit.ts'
import { search } from './search.ts'
import type { RabbitServer } from '../servers/rabbit/rabbit.ts'
import { groups, ladderMs } from '../stack/config.ts'
import type { Stack } from '../stack/stack.ts'
import { tally, type Identity } from './whereabouts.ts'

/** In the folder of a run; as long as it is there, no other run begins in that folder. */
const fileName = 'evidence.json'

export function evidenceIn(dir: string): string | undefined {
  const file = join(dir, fileName)
  return existsSync(file) ? file : undefined
}

export interface EvidenceParts {
  stack: Stack
  report: Report
  /** Those of the missing events that are to be looked for. */
  missing: readonly Identity[]
  absent: (identities: readonly Identity[]) => Promise<Identity[]>
  env: NodeJS.ProcessEnv
  clock: Clock
}

/**
 * Tells where the events are that the history misses, and leaves what there is for a person to look at. Edge and cloud are stopped
 * first, in good order, as they would be a moment later: nothing moves then while it is looked for, and what was handed to the cloud
 * is back in its queue. Answers the report with the evidence in it.
 */
export async function gatherEvidence(parts: EvidenceParts, signal: AbortSignal): Promise<Report> {
  const { stack, report, missing, absent, env, clock } = parts
  const outbox = { cli: stack.cli, dataDir: stack.edgeDataDir, env }
  await Promise.all([stack.edge, ...stack.clouds].map((program) => program.stop()))
  let queues: string[] | undefined
  const { located, looked, blind } = await search(
    missing,
    {
      lookouts: [
        { name: 'the outbox', look: (see, signal) => lookIntoOutbox(outbox, see, signal) },
        {
          name: 'RabbitMQ',
          look: async (see, signal) =>
            lookIntoQueues(
              { url: stack.amqpUrl, queues: (queues ??= await queuesOf(stack, signal)), groups, clock },
              see,
              signal,
            ),
        },
      ],
      absent,
      clock,
    },
    signal,
  )
  const file = join(stack.dir, fileName)
  const evidence: Evidence = {
    folder: stack.dir,
    file,
    missing: report.missing,
    searched: missing.length,
    places: tally(located),
    looked,
    blind,
    accounted: accountedIn(report) + (await unreported(outbox, signal)),
    toLook: howToLook(stack),
  }
  const told: Report = {
    ...report,
    missingEvents: located.slice(0, report.missingEvents.length),
    evidence,
  }
  try {
    writeFileSync(file, `${JSON.stringify({ report: told, located }, undefined, 2)}\n`)
  } catch (error) {
    blind.push(`${file} could not be written: ${messageOf(error)}`)
  }
  return told
}

/** Of our own broker every queue there is, of one that was given those that we know by name. */
async function queuesOf(stack: Stack, signal: AbortSignal): Promise<string[]> {
  if (stack.rabbit) return listQueues(stack.rabbit, signal)
  return [
    wire.unroutable,
    ...groups.flatMap((group) => [
      ...Array.from({ length: stack.partitions }, (_, partition) => partitionQueue(group, partition)),
      ...ladderMs.map((delayMs) => rungName(group, delayMs)),
      deadQueue(group),
    ]),
  ]
}

const listedSchema = z.array(z.object({ name: z.string() }))

/** Names. */
export async function listQueues(rabbit: Pick<RabbitServer, 'ctl'>, signal?: AbortSignal): Promise<string[]> {
  const text = await rabbit.ctl(['--quiet', 'list_queues', 'name', '--formatter', 'json'], signal)
  return listedSchema.parse(JSON.parse(text)).map(({ name }) => name)
}

function accountedIn({ audit }: Report): number {
  return audit.ledgers
    .flatMap(({ undelivered }) => Object.values(undelivered))
    .reduce((sum, { count }) => sum + count, 0)
}

function howToLook({ dir, edgeDataDir, rabbit, postgres, logs }: Stack): string[] {
  return [
    `npx tidegate outbox inspect --data-dir ${quoted(edgeDataDir)}    # also: verify, export`,
    ...(rabbit || postgres
      ? [
          `npx tidegate dev --servers-only --dir ${quoted(dir)}    # its servers on their data, and nothing that reads from them`,
        ]
      : []),
    `logs: ${[logs.edge, ...logs.clouds].map(quoted).join(' ')}`,
  ]
}
