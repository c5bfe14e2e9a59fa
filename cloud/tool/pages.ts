import type { Client } from './client.ts'

const pageMax = 500

interface Page<T> {
  items: T[]
  next: string | null
}

/** The first so many of a list, asked for page by page, and whether there are more. */
export async function readList<T>(
  client: Client,
  path: string,
  { limit, query = {} }: { limit: number; query?: Readonly<Record<string, string | number | undefined>> },
): Promise<{ items: T[]; more: boolean }> {
  const items: T[] = []
  for (let after: string | undefined; ;) {
    const asked = { ...query, limit: Math.min(pageMax, limit - items.length), after }
    const { body } = await client.get<Page<T>>(path, asked)
    items.push(...body.items)
    if (body.next === null || items.length >= limit) return { items, more: body.next !== null }
    after = body.next
  }
}
