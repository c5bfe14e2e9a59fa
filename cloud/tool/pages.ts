import type { Answered } from './client.ts'

const pageMax = 500

export type Query = Readonly<Record<string, string | number | undefined>>

export interface Page<T> {
  items: T[]
  next: string | null
}

/** The first so many of a list, asked for page by page, and whether there are more. */
export async function readList<T>(
  ask: (paging: Query) => Promise<Answered<Page<T>>>,
  limit: number,
): Promise<{ items: T[]; more: boolean }> {
  const items: T[] = []
  for (let after: string | undefined; ;) {
    const { body } = await ask({ limit: Math.min(pageMax, limit - items.length), after })
    items.push(...body.items)
    if (body.next === null || items.length >= limit) return { items, more: body.next !== null }
    after = body.next
  }
}
