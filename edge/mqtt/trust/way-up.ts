import type { Authorities, Credential, Step } from './credential.ts'

/** What speaks for a device at a moment. */
export interface WayUp {
  /** Its certificate, and all those above it. */
  steps: readonly Step[]
  /** Whether a root of ours is among them. */
  isRooted: boolean
}

/**
 * All certificates that OpenSSL may have gone by when it found a way from a device's certificate up to a root: it does not tell
 * which it took, and the device has a say in it by what it sends. Above a certificate is each CA of ours, and each CA certificate
 * that was sent, whose name is the issuer's, whose key has made the signature, and that is valid at the moment. So all
 * certificates with the subject and the key of an issuer are there, and one that is taken back cannot hide behind another;
 * one that is not valid yet or any more is not there, whatever became of it: OpenSSL does not go by it either.
 */
export function wayUp(
  { leaf, sent }: Credential,
  authorities: Authorities,
  isValid: (step: Step) => boolean,
): WayUp {
  const steps = new Set([leaf])
  // What is added to a set while one goes through it, one comes to in its turn.
  for (const { issuers } of steps) {
    const ours = issuers.flatMap((identity) => authorities.get(identity) ?? [])
    const theirs = sent.filter(({ identity }) => issuers.includes(identity))
    for (const above of [...ours, ...theirs]) if (isValid(above)) steps.add(above)
  }
  return { steps: [...steps], isRooted: [...steps].some(({ isRoot }) => isRoot) }
}
