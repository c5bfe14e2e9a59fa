import type { Answered, Client } from './client.ts'
import { type Asking, exitCodes, say, sayJson, withApi } from './session.ts'

const pageMax = 500

/** The most that `--limit` takes. */
const limitMax = 10_000

export type Query = Readonly<Record<string, string | number | undefined>>

export interface Page<T> {
  items: T[]
  next: string | null
}

export interface Listing extends Asking {
  limit: number
  /** End with 1 if there is anything. */
  exitCode?: boolean
}

/** Prints a list, and how to see more of it. */
export async function list<T>(
  options: Listing,
  ask: (client: Client, paging: Query) => Promise<Answered<Page<T>>>,
  textOf: (items: readonly T[]) => string,
): Promise<void> {
  const { limit } = options
  await withApi(options, async (client) => {
    const { items, more } = await readList((paging) => ask(client, paging), limit)
    if (options.json) sayJson({ items, more })
    else say(textOf(items) + (more ? `\n${moreText(limit)}` : ''))
    if (options.exitCode && items.length > 0) process.exitCode = exitCodes.notWell
  })
}

function moreText(limit: number): string {
  return limit < limitMax ? `… and more: --limit ${Math.min(limit * 10, limitMax)}` : '… and more'
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
