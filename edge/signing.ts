import { createPrivateKey, type KeyObject } from 'node:crypto'
import { signHead } from '../src/contract/checkpoint.ts'
import { algorithmOf, fingerprintOf } from '../src/contract/signature.ts'
import { TidegateError } from '../src/errors.ts'
import type { ClientTls } from '../src/settings/client-tls.ts'
import { loadPrivateKey } from '../src/tls-files.ts'
import type { EdgeConfig } from './config.ts'
import type { CheckpointSigner } from './outbox/options.ts'

/**
 * Who signs the ledger (G8): the key that is named for it, else that of the uplink's certificate, if it is of a kind that signs; undefined: there is neither.
 * @throws TidegateError `TLS_FILE_*`, `CHECKPOINT_KEY`
 */
export function checkpointSigner(
  { checkpoints, uplink }: EdgeConfig,
  tls: ClientTls | undefined,
): CheckpointSigner | undefined {
  const { key: file, every, everyEvents } = checkpoints
  const limits = { everyMs: every, everyEvents }
  if (file !== undefined)
    return signerOf(loadPrivateKey(file, 'the signing of checkpoints (checkpoints.key)'), file, limits)
  const uplinkKey = tls?.pair && createPrivateKey(tls.pair.key)
  // What was good for the uplink so far stays so.
  if (uplinkKey === undefined || algorithmOf(uplinkKey) === undefined) return undefined
  return signerOf(uplinkKey, String(uplink.tls?.key), limits)
}

function signerOf(
  privateKey: KeyObject,
  file: string,
  limits: Pick<CheckpointSigner, 'everyMs' | 'everyEvents'>,
): CheckpointSigner {
  const algorithm = algorithmOf(privateKey)
  if (algorithm === undefined) {
    throw new TidegateError('CHECKPOINT_KEY', {
      message: `the key ${file} signs no checkpoints`,
      retryable: false,
      hint: 'use one of ECDSA P-256 or P-384, Ed25519, or RSA of 2048 to 8192 bits, or name another in checkpoints.key',
    })
  }
  return {
    ...limits,
    key: fingerprintOf(privateKey),
    algorithm,
    sign: (gateway, head) => signHead(gateway, head, privateKey, algorithm),
  }
}
