import type { GatewayKey } from '../../../cloud/gateways/registry.ts'
import type { CheckpointSigner } from '../../../edge/outbox/options.ts'
import { type Checkpoint, checkpointType, type ChainHead } from '../../../src/contract/checkpoint.ts'
import { encodeEvent, genesis } from '../../../src/contract/codec.ts'
import type { Event } from '../../../src/contract/event.ts'
import { type TestSigner, testSigner } from '../fakes/signer.ts'
import { type Encoded, Ledger } from './cloud-events.ts'

export const signer = testSigner(1, { everyEvents: 10 })

/** As it is registered. */
export function keyOf({ publicKey, key }: TestSigner, more: Partial<GatewayKey> = {}): GatewayKey {
  return {
    gateway: 'gateway-1',
    fingerprint: key,
    publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    sinceMs: 0,
    untilMs: null,
    ...more,
  }
}

/** A ledger whose gateway signs it, as one who can see it all. */
export class SignedLedger extends Ledger {
  readonly events: Encoded[] = []

  async add(events: number, more: Partial<Event> = {}): Promise<void> {
    for (let at = 0; at < events; at += 1) this.events.push(this.next('device-1', more))
  }

  /** Signs what stands last. */
  async sign(by: CheckpointSigner = signer, more: Partial<ChainHead> = {}): Promise<Checkpoint> {
    const { event } = this.events.at(-1) as Encoded
    const data = await signedHead(event, by, more)
    this.events.push(
      this.next(this.gateway, { type: checkpointType, source: `/gateways/${this.gateway}`, data }),
    )
    return data
  }
}

export async function signedHead(
  { gateway, epoch, sequence, chain }: Event,
  by: CheckpointSigner = signer,
  more: Partial<ChainHead> = {},
): Promise<Checkpoint> {
  const head: ChainHead = {
    epoch,
    sequence,
    chain,
    time: '2026-01-01T00:00:01.000Z',
    everyEvents: by.everyEvents,
    ...more,
  }
  return { ...head, key: by.key, algorithm: by.algorithm, signature: await by.sign(gateway, head) }
}

/** Thirty events with three checkpoints, after 10, 20 and 30 of them, and two events behind. */
export async function signedLedger(gateway?: string, epoch?: string): Promise<SignedLedger> {
  const ledger = new SignedLedger(gateway, epoch)
  for (let at = 0; at < 3; at += 1) {
    await ledger.add(10)
    await ledger.sign()
  }
  await ledger.add(2)
  return ledger
}

/** The same texts with one altered from a sequence on, each chained anew: by somebody who can compute SHA-256. */
export async function rewritten(
  texts: readonly string[],
  change: (event: Event, before: Encoded | undefined) => void | Promise<void>,
): Promise<Encoded[]> {
  let chain: string | undefined
  const anew: Encoded[] = []
  for (const text of texts) {
    const { chain: _, ...open } = JSON.parse(text) as Event
    await change(open as Event, anew.at(-1))
    const encoded = encodeEvent(open, chain ?? genesis(open.gateway, open.epoch))
    chain = encoded.chain
    anew.push({ event: { ...open, chain }, text: encoded.text })
  }
  return anew
}
