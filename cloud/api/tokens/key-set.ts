import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import { z } from 'zod'
import type { Clock } from '../../../src/clock.ts'
import { codeOf, messageOf } from '../../../src/errors.ts'
import type { Logger } from '../../../src/log.ts'

/** Read again after so long, so that a key which its owner took away is believed no longer. */
const freshMs = 600_000
/** A key nobody knows is looked for so often at the most: whoever makes up key IDs must not make us ask (G7). */
const askedAgainMs = 30_000
const keysMax = 100

const document = z.object({ keys: z.array(z.looseObject({ kty: z.string() })) })

/** The keys of an identity provider, by their IDs (RFC 7517). */
export interface KeySet {
  /** Of this ID, to check a signature of this algorithm; undefined if there is none. Throws only if there are no keys at all. */
  find(kid: string, algorithm: string): Promise<KeyObject | undefined>
}

export interface KeySetOptions {
  /** The document, as it is now. */
  read: () => Promise<string>
  clock: Clock
  log: Logger
}

interface Known {
  key: KeyObject
  algorithm: string | undefined
}

/** Keys in memory. While the provider does not answer, those that were read last stay good. */
export function createKeySet({ read, clock, log }: KeySetOptions): KeySet {
  let keys: ReadonlyMap<string, Known> | undefined
  let askedAtMs = -Infinity
  let readAtMs = -Infinity
  let asking: Promise<void> | undefined

  async function ask(): Promise<void> {
    askedAtMs = clock.monotonicMs()
    try {
      keys = keysIn(await read())
      readAtMs = clock.monotonicMs()
    } catch (error) {
      log.warn({ code: codeOf(error) }, `keys of the identity provider cannot be read: ${messageOf(error)}`)
      if (keys === undefined) throw error
    }
  }

  /** One at a time; who comes meanwhile waits for the same answer. */
  async function refresh(): Promise<void> {
    asking ??= ask().finally(() => (asking = undefined))
    await asking
  }

  return {
    async find(kid, algorithm) {
      const nowMs = clock.monotonicMs()
      const isKnown = keys?.has(kid) === true
      const isStale = nowMs - readAtMs > freshMs || !isKnown
      // Where there were no keys at all, too: the answer is "not now", and need not be asked for with each request.
      const mayAsk = isStale && nowMs - askedAtMs > askedAgainMs
      const asked = asking !== undefined || mayAsk ? refresh() : undefined
      // A key that is known is good while the provider takes its time: whoever makes up key IDs must not have others wait.
      if (!isKnown) await asked
      if (keys === undefined) throw new Error('no keys of the identity provider could be read yet')
      const known = keys.get(kid)
      return known === undefined || (known.algorithm ?? algorithm) !== algorithm ? undefined : known.key
    },
  }
}

/** Keys that may sign and have a name; what else there is, such as keys of kinds that we do not know, is left alone. */
function keysIn(text: string): Map<string, Known> {
  const { keys } = document.parse(JSON.parse(text))
  const known = new Map<string, Known>()
  for (const { kid, use, alg, ...jwk } of keys.slice(0, keysMax)) {
    // A secret in a public document is one that everybody has.
    if (typeof kid !== 'string' || (use !== undefined && use !== 'sig') || jwk.kty === 'oct') continue
    try {
      const key = createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' })
      known.set(kid, { key, algorithm: typeof alg === 'string' ? alg : undefined })
    } catch {
      continue
    }
  }
  return known
}
