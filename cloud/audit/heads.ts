import { readFile, rename, writeFile } from 'node:fs/promises'
import { z } from 'zod'
import { checkpointSchema } from '../../src/contract/checkpoint.ts'
import { messageOf, TidegateError } from '../../src/errors.ts'
import { type GatewayKey, keyObjectOf, type Registry } from '../gateways/registry.ts'
import type { LedgerReport } from './ledger.ts'
import type { KeptHead } from './checkpoints.ts'

/** The newest signed head of each ledger, and the keys they were verified with. Kept elsewhere, it binds the database to what was. */
export interface Heads {
  keys: readonly GatewayKey[]
  heads: readonly KeptHead[]
  /** Fingerprints of further keys that are to be believed, if they are registered. */
  trusted?: readonly string[]
}

const format = 'tidegate heads v1'

const fileSchema = z.object({
  format: z.literal(format),
  keys: z.array(
    z.object({
      gateway: z.string(),
      fingerprint: z.string(),
      publicKey: z.string().refine((publicKey) => keyObjectOf({ publicKey }) !== undefined, 'no public key'),
      sinceMs: z.number(),
      untilMs: z.number().nullable(),
    }),
  ),
  heads: z.array(checkpointSchema.and(z.object({ gateway: z.string() }))),
})

/** @throws TidegateError `HEADS_FILE` */
export async function readHeads(file: string): Promise<Heads> {
  try {
    return fileSchema.parse(JSON.parse(await readFile(file, 'utf8')))
  } catch (cause) {
    throw unusable(file, cause, 'name a file that tidegate audit --heads has written')
  }
}

/** Replaced whole or not at all. @throws TidegateError `HEADS_FILE` */
export async function writeHeads(file: string, heads: Heads): Promise<void> {
  const part = `${file}.part`
  try {
    await writeFile(part, `${JSON.stringify({ format, ...heads }, undefined, 1)}\n`)
    await rename(part, file)
  } catch (cause) {
    throw unusable(file, cause, 'name a place where this user may write')
  }
}

/** What to keep after an audit: of a ledger that it alarms of, what was kept before. */
export class HeadsToKeep {
  readonly #before: Heads | undefined
  readonly #heads = new Map<string, KeptHead>()

  constructor(before: Heads | undefined) {
    this.#before = before
    for (const head of before?.heads ?? []) this.#heads.set(ledgerOf(head), head)
  }

  /** Never goes back: what was kept is not forgotten because it is not signed any more. */
  add({ gateway, epoch, signed, ok }: LedgerReport): void {
    const ledger = ledgerOf({ gateway, epoch })
    if (signed !== null && ok && signed.sequence > (this.#heads.get(ledger)?.sequence ?? 0))
      this.#heads.set(ledger, { gateway, ...signed })
  }

  of(registry: Registry): Heads {
    const heads = [...this.#heads.values()]
    const gateways = new Set([
      ...registry.gateways.map(({ name }) => name),
      ...heads.map((head) => head.gateway),
    ])
    return { keys: [...gateways].flatMap((gateway) => keysFor(gateway, registry, this.#before)), heads }
  }
}

/**
 * A gateway’s keys as they were kept, if any were, and those a person has compared: whoever can write the database could register
 * others. A key that was retired since is retired.
 */
export function keysFor(gateway: string, registry: Registry, kept: Heads | undefined): readonly GatewayKey[] {
  const registered = registry.keysOf(gateway)
  const own = kept?.keys.filter((key) => key.gateway === gateway) ?? []
  if (own.length === 0) return registered
  const trusted = registered.filter(
    ({ fingerprint }) =>
      kept?.trusted?.includes(fingerprint) && own.every((key) => key.fingerprint !== fingerprint),
  )
  return [...own, ...trusted].map((key) => {
    const until = registered
      .filter(({ fingerprint }) => fingerprint === key.fingerprint)
      .map(({ untilMs }) => untilMs ?? Infinity)
    const untilMs = Math.min(key.untilMs ?? Infinity, ...until)
    return { ...key, untilMs: untilMs === Infinity ? null : untilMs }
  })
}

function ledgerOf({ gateway, epoch }: { gateway: string; epoch: string }): string {
  return `${gateway} ${epoch}`
}

function unusable(file: string, cause: unknown, hint: string): TidegateError {
  return new TidegateError('HEADS_FILE', {
    message: `the heads in ${file} cannot be kept or read: ${messageOf(cause).split('\n')[0] ?? ''}`,
    retryable: false,
    hint,
    cause,
  })
}
