import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { z } from 'zod'
import { readEvent, type Looked, type See } from './search.ts'
import { jsonOf, run } from '../servers/command.ts'
import type { Sighting } from './whereabouts.ts'

export interface OutboxToSearch {
  /** The compiled `tidegate`. */
  cli: string
  /** The gateway's. */
  dataDir: string
  env: NodeJS.ProcessEnv
}

/**
 * Looks at every event that waits in a gateway's outbox, and in the stores it set aside because they were damaged, as `tidegate outbox
 * export` shows them: of a gateway that runs or one that is stopped.
 */
export async function lookIntoOutbox(
  options: OutboxToSearch,
  see: See,
  signal: AbortSignal,
): Promise<Looked[]> {
  const { dataDir } = options
  const looked = [await lookInto(options, 'outbox', dataDir, see, signal)]
  for (const folder of setAside(dataDir))
    looked.push(await lookInto(options, 'set-aside', folder, see, signal))
  return looked
}

async function lookInto(
  { cli, env }: OutboxToSearch,
  kind: 'outbox' | 'set-aside',
  folder: string,
  see: See,
  signal: AbortSignal,
): Promise<Looked> {
  const place = kind === 'outbox' ? 'the outbox' : folder
  const args = [cli, 'outbox', 'export', '--data-dir', folder]
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'], signal })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += said.length < 4096 ? text : ''))
  const ended = new Promise<string | undefined>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('close', (code) =>
      resolve(code === 0 ? undefined : said.trim().split('\n')[0] || `exit code ${code}`),
    )
  })
  let holds = 0
  for await (const line of createInterface({ input: child.stdout })) {
    holds += 1
    const event = readEvent(line)
    if (!event) continue
    const { source, id, epoch, sequence } = event
    const sighting: Sighting = { kind, folder, epoch, sequence }
    see({ source, id }, sighting)
  }
  const fault = await ended
  signal.throwIfAborted()
  return {
    place,
    holds,
    looked: holds,
    ...(fault !== undefined && { blind: `${place} could not be looked into as a whole: ${fault}` }),
  }
}

const inspectionSchema = z.object({
  unreported: z.array(z.object({ from: z.number(), to: z.number() })),
})

/** Places in the ledger whose events were expired, evicted or lost, and of which the cloud has not been told yet. */
export async function unreported(
  { cli, dataDir, env }: OutboxToSearch,
  signal: AbortSignal,
): Promise<number> {
  const args = [cli, 'outbox', 'inspect', '--json', '--data-dir', dataDir]
  const { stdout } = await run({ file: process.execPath, args, env }, { signal })
  const answer = inspectionSchema.safeParse(jsonOf(stdout))
  return answer.success ? answer.data.unreported.reduce((sum, { from, to }) => sum + to - from + 1, 0) : 0
}

/** docs/OPERATIONS.md: what cannot be repaired is set aside whole, in `outbox/quarantined-<time>`. */
function setAside(dataDir: string): string[] {
  const outbox = join(dataDir, 'outbox')
  try {
    return readdirSync(outbox)
      .filter((name) => name.startsWith('quarantined-'))
      .map((name) => join(outbox, name))
  } catch {
    return []
  }
}
