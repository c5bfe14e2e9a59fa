import { editDistance } from '../edit-distance.ts'

/** The candidate that was probably meant; undefined if none is near. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  const wanted = word.toLowerCase()
  const far = wanted.length < 4 ? 1 : Math.max(2, Math.floor(wanted.length / 3))
  let best: { candidate: string; steps: number } | undefined
  for (const candidate of candidates) {
    const steps =
      wordsOf(candidate) === wordsOf(word) ? 0 : editDistance(wanted, candidate.toLowerCase(), far)
    if (steps <= far && (best === undefined || steps < best.steps)) best = { candidate, steps }
  }
  return best?.candidate
}

/** `; did you mean bytesMax?`, or nothing. */
export function didYouMean(word: string, candidates: readonly string[]): string {
  const meant = nearest(word, candidates)
  return meant === undefined ? '' : `; did you mean ${meant}?`
}

/** `maxBytes` and `bytesMax` have the same. */
function wordsOf(key: string): string {
  return key
    .split(/(?=[A-Z])|[_-]/)
    .map((word) => word.toLowerCase())
    .toSorted()
    .join(' ')
}
