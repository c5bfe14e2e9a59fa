import { join } from 'node:path'
import type { Prepare, Product, Subject } from '../run/case.ts'
import type { Sample } from '../run/figures.ts'
import { runWorker, thisCheckout } from '../run/worker.ts'
import type { OutboxTask } from '../workers/outbox.ts'

/** A task in a process of its own. */
export async function outboxWorker(task: OutboxTask): Promise<Sample> {
  return (await runWorker<Sample>('outbox', task)) ?? {}
}

/** More than any size remembers. */
const rememberedMax = 20_000_000
const events = 200_000

/** The small one begins anew in each round; the others remember so many more with each. */
export const prepareOutbox: Prepare = async ({ products, full, dir, say }) => {
  let folders = 0
  const newFolder = (): string => join(dir, `folder-${folders++}`)
  const subjects: Subject[] = [
    {
      name: 'bare LevelDB',
      measure: () =>
        outboxWorker({
          work: 'append to bare LevelDB',
          folder: newFolder(),
          root: thisCheckout.root,
          events,
        }),
    },
  ]
  for (const product of products) {
    subjects.push({
      name: '10 k IDs remembered',
      product,
      async measure() {
        const where = placeOf(product, newFolder())
        await remember(where, 10_000)
        return outboxWorker({ ...where, work: 'append', events })
      },
    })
    for (const [name, count] of [
      ['1 M IDs remembered', 1_000_000],
      ...(full ? [['10 M IDs remembered', 10_000_000] as const] : []),
    ] as const) {
      const where = placeOf(product, newFolder())
      say(`  filling an outbox with ${count.toLocaleString('en')} IDs`)
      await remember(where, count)
      subjects.push({ name, product, measure: () => outboxWorker({ ...where, work: 'append', events }) })
    }
  }
  return subjects
}

function placeOf({ root }: Product, folder: string) {
  return { folder, root, rememberedMax }
}

async function remember(where: ReturnType<typeof placeOf>, count: number): Promise<void> {
  await outboxWorker({ ...where, work: 'fill', events: count, end: 'release all' })
}
