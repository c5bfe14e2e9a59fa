import { Refusal } from './problem.ts'

type Place = readonly (string | number)[]

const lengthMax = 512

/**
 * Where a page ended, as a text that means nothing to whoever gets it. It names the list it is of: a cursor of another list is refused and
 * does not lead to a page that is wrong.
 */
export function cursorOf(list: string, place: Place): string {
  return Buffer.from(JSON.stringify([list, ...place])).toString('base64url')
}

/** @throws Refusal `CURSOR_INVALID` when it is not one of this list, with as many parts of these kinds */
export function placeOf<P extends Place>(list: string, cursor: string, like: P): P {
  const [named, ...place] = partsOf(cursor)
  const fits =
    named === list &&
    place.length === like.length &&
    place.every((part, index) => typeof part === typeof like[index] && isSane(part))
  if (!fits) {
    throw new Refusal({
      code: 'CURSOR_INVALID',
      status: 400,
      message: `after is no cursor of ${list}`,
      hint: 'take next of the page before as it is, with the same filter, or leave after out',
    })
  }
  return place as unknown as P
}

function partsOf(cursor: string): unknown[] {
  if (cursor.length > lengthMax) return []
  try {
    const parts: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString())
    return Array.isArray(parts) ? parts : []
  } catch {
    return []
  }
}

/** PostgreSQL takes no NUL in a text, and no number that is none of 64 bits. */
function isSane(part: unknown): boolean {
  return typeof part === 'number' ? Number.isSafeInteger(part) : !String(part).includes('\u0000')
}

/** A page of rows that were asked for with one more than it may have. */
export function pageOf<T>(
  list: string,
  rows: readonly T[],
  { limit, place }: { limit: number; place: (last: T) => Place },
): { items: T[]; next: string | null } {
  const items = rows.slice(0, limit)
  const last = items.at(-1)
  const next = rows.length > limit && last !== undefined ? cursorOf(list, place(last)) : null
  return { items, next }
}
