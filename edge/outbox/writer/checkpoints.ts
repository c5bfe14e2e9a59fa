import {
  type Checkpoint,
  checkpointDistanceMax,
  checkpointType,
  type ChainHead,
} from '../../../src/contract/checkpoint.ts'
import { codeOf, messageOf } from '../../../src/errors.ts'
import { type Head, sequenceOf } from '../layout/head.ts'
import type { CheckpointSigner } from '../options.ts'
import type { OutboxStats } from '../outbox.ts'
import type { Core } from './core.ts'
import type { Draft } from './draft.ts'
import { appendSystemEvent } from './ledger-entries.ts'

/** A key that fails to sign is tried again after so long, or sooner. */
const againMs = 10_000

/** What the checkpoints ask of the engine's writer. */
export interface CheckpointWriter {
  submit(command: { kind: 'checkpoint'; checkpoint: Checkpoint }): Promise<void>
}

/**
 * Signs the head of the chain, and gives the signature a place in the ledger (G8). What is signed is on the disk; nothing waits for
 * the signing, and a signature that is lost before it is stored is made again.
 */
export class Checkpoints {
  readonly #core: Core
  readonly #writer: CheckpointWriter
  #signing: Promise<void> | undefined
  /** As of the last look. */
  #signed: Head['signed']
  /** When that was, and since when something has waited to be signed. By the monotonic clock. */
  #lastMs: number
  #unsignedSinceMs: number | undefined
  /** Signing has failed, and is not tried again before. */
  #againMs = 0

  constructor(core: Core, writer: CheckpointWriter) {
    this.#core = core
    this.#writer = writer
    this.#signed = core.state.head.signed
    this.#lastMs = core.options.clock.monotonicMs()
  }

  /** Begins to sign if it is time to. Call it after every write. */
  look(): void {
    const { options, state, closing } = this.#core
    const { checkpoints: signer, clock } = options
    if (signer === undefined) return
    const nowMs = clock.monotonicMs()
    if (state.head.signed !== this.#signed) {
      this.#signed = state.head.signed
      this.#lastMs = nowMs
      this.#unsignedSinceMs = undefined
    }
    if (unsignedEvents(state.head) > 0) this.#unsignedSinceMs ??= nowMs
    if (this.#signing || closing.aborted || nowMs < this.#againMs) return
    if (!isDue(state.head, signer, nowMs - this.#lastMs)) return
    this.#signing = this.#make(signer).finally(() => {
      this.#signing = undefined
      // So much may have come meanwhile that the next one is due.
      this.look()
    })
  }

  /** Nothing is being signed any more. */
  async settled(): Promise<void> {
    await this.#signing
  }

  /** Signs what is left to be signed when nothing more is written, if there is any. */
  async last(): Promise<Checkpoint | undefined> {
    const { options, state } = this.#core
    const { checkpoints: signer } = options
    if (signer === undefined || !isDue(state.head, signer, Infinity)) return undefined
    try {
      return await this.#sign(signer)
    } catch (error) {
      this.#tell(error)
      return undefined
    }
  }

  stats(): OutboxStats['unsigned'] {
    const { options, state } = this.#core
    if (options.checkpoints === undefined) return undefined
    const sinceMs = this.#unsignedSinceMs
    const ageMs = sinceMs === undefined ? 0 : options.clock.monotonicMs() - sinceMs
    return { events: unsignedEvents(state.head), ageMs }
  }

  async #make(signer: CheckpointSigner): Promise<void> {
    try {
      const checkpoint = await this.#sign(signer)
      await this.#writer.submit({ kind: 'checkpoint', checkpoint })
    } catch (error) {
      this.#againMs = this.#core.options.clock.monotonicMs() + Math.min(signer.everyMs, againMs)
      if (codeOf(error) !== 'OUTBOX_CLOSED') this.#tell(error)
    }
  }

  async #sign(signer: CheckpointSigner): Promise<Checkpoint> {
    const { options, state } = this.#core
    const { gateway, epoch, position, chain, signed } = state.head
    const head: ChainHead = {
      epoch,
      sequence: sequenceOf(state.head, position),
      chain,
      time: new Date(options.clock.now()).toISOString(),
      everyEvents: signer.everyEvents,
      ...(signed !== null && signed.key !== signer.key && { formerKey: signed.key }),
    }
    const signature = await signer.sign(gateway, head)
    return { ...head, key: signer.key, algorithm: signer.algorithm, signature }
  }

  #tell(error: unknown): void {
    this.#core.options.log.error({ code: codeOf(error) }, `no checkpoint was made: ${messageOf(error)}`)
  }
}

/** In the same write its head learns how far it is signed: a restart knows what a crash left (I2). */
export function enterCheckpoint(core: Core, draft: Draft, checkpoint: Checkpoint): void {
  const { head } = draft
  const through = head.epochBase + checkpoint.sequence
  // Damage has begun another epoch meanwhile, or the disk was away for so long that its reader would not know the sequence any more.
  if (checkpoint.epoch !== head.epoch || head.position + 1 - through > checkpointDistanceMax) return
  appendSystemEvent(core, draft, checkpointType, checkpoint)
  head.signed = { through, key: checkpoint.key }
}

/** Events that no signature covers, but for the checkpoint itself: an idle gateway does not sign its own signatures. */
function unsignedEvents(head: Head): number {
  const { position, epochBase } = head
  return signedThrough(head) === undefined ? position - epochBase : position - (signedThrough(head) ?? 0) - 1
}

/** The position up to which the head's own epoch is signed. */
function signedThrough({ signed, epochBase }: Head): number | undefined {
  return signed !== null && signed.through > epochBase ? signed.through : undefined
}

function isDue(head: Head, { key, everyEvents, everyMs }: CheckpointSigner, elapsedMs: number): boolean {
  const isAnotherKey = head.signed !== null && head.signed.key !== key && head.position > head.epochBase
  const events = unsignedEvents(head)
  if (events === 0) return isAnotherKey
  const isFirst = signedThrough(head) === undefined
  return isAnotherKey || isFirst || events >= everyEvents || elapsedMs >= everyMs
}
