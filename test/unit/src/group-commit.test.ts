import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { groupCommit } from '../../../src/group-commit.ts'

describe('group commit', () => {
  test('shares one commit among all that arrived during the one before (I3)', async () => {
    const batches: number[][] = []
    const commits = groupCommit(
      async (items: number[]) => {
        batches.push(items)
        await new Promise((resolve) => setImmediate(resolve))
        return items.map((item) => item * 2)
      },
      { itemsMax: 100 },
    )
    const first = commits.submit(1)
    await new Promise((resolve) => queueMicrotask(() => resolve(undefined)))
    await new Promise((resolve) => queueMicrotask(() => resolve(undefined)))
    const rest = Promise.all([2, 3, 4].map((item) => commits.submit(item)))
    expect(await first).toBe(2)
    expect(await rest).toEqual([4, 6, 8])
    expect(batches).toEqual([[1], [2, 3, 4]])
  })

  test('answers every item in order, in batches within the bound, whatever fails', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(9), { maxLength: 60 }),
        fc.integer({ min: 1, max: 7 }),
        async (items, itemsMax) => {
          const commits = groupCommit(
            async (batch: number[]) => {
              expect(batch.length).toBeLessThanOrEqual(itemsMax)
              if (batch.includes(9)) throw new Error('nine')
              return batch
            },
            { itemsMax },
          )
          const results = await Promise.allSettled(items.map((item) => commits.submit(item)))
          for (let from = 0; from < items.length; from += itemsMax) {
            const batch = items.slice(from, from + itemsMax)
            const failed = batch.includes(9)
            batch.forEach((item, index) => {
              const result = results[from + index]
              expect(result).toMatchObject(
                failed ? { status: 'rejected' } : { status: 'fulfilled', value: item },
              )
            })
          }
          await commits.close()
          expect(commits.pending).toBe(0)
        },
      ),
    )
  })

  test('closes only after everything submitted is settled', async () => {
    let landed = 0
    const commits = groupCommit(
      async (items: number[]) => {
        await new Promise((resolve) => setImmediate(resolve))
        landed += items.length
        return items
      },
      { itemsMax: 2 },
    )
    const all = [1, 2, 3, 4, 5].map((item) => commits.submit(item))
    await commits.close()
    expect(landed).toBe(5)
    await Promise.all(all)
  })

  test('of owners that have more waiting than a commit holds one item each is taken in turn, and of one in order (G7)', async () => {
    const { batches, commit } = noting()
    const commits = groupCommit(commit, { itemsMax: 3, ownerOf: (item) => item.slice(0, 1) })
    await Promise.all(['a1', 'a2', 'a3', 'a4', 'a5', 'b1', 'c1', 'b2'].map((item) => commits.submit(item)))
    expect(batches).toEqual([
      ['a1', 'b1', 'c1'],
      ['a2', 'b2', 'a3'],
      ['a4', 'a5'],
    ])
  })

  test('what is nobody’s goes into the next commit, all of it, however many owners are in line, and one of theirs with it (G7)', async () => {
    const { batches, commit } = noting()
    const commits = groupCommit(commit, {
      itemsMax: 2,
      ownerOf: (item) => (item.startsWith('-') ? undefined : item.slice(0, 1)),
    })
    const all = ['a1', 'b1', 'c1', 'd1', '-1', '-2', '-3'].map((item) => commits.submit(item))
    await Promise.resolve()
    all.push(commits.submit('-4'), commits.submit('-5'))
    expect(await Promise.all(all)).toEqual(['a1', 'b1', 'c1', 'd1', '-1', '-2', '-3', '-4', '-5'])
    expect(batches).toEqual([
      ['-1', '-2', '-3', 'a1'],
      ['-4', '-5', 'b1'],
      ['c1', 'd1'],
    ])
  })
})

/** Notes what each commit is given. */
function noting(): { batches: string[][]; commit: (items: string[]) => Promise<string[]> } {
  const batches: string[][] = []
  return {
    batches,
    async commit(items) {
      batches.push(items)
      await new Promise((resolve) => setImmediate(resolve))
      return items
    },
  }
}
