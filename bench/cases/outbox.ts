import { join } from 'node:path'
import type { Prepare, Product } from '../run/case.ts'
import type { Sample } from '../run/figures.ts'
import { runWorker, thisCheckout } from '../run/worker.ts'
import type { OutboxTask } from '../workers/outbox.ts'

/** A task in a process of its own. */
export async function outboxWorker(task: OutboxTask): Promise<Sample> {
  return (await runWorker<Sample>('outbox', task)) ?? {}
}

const remembered = (full: boolean): [name: string, count: number][] => [
  ['10 k IDs remembered', 10_000],
  ['1 M IDs remembered', 1_000_000],
  ...(full ? [['10 M IDs remembered', 10_000_000] as [string, number]] : []),
]

/** Each round appends to the same folders, so that every one of them remembers so many more. */
export const prepareOutbox: Prepare = async ({ products, full, dir, say }) => {
  const events = 200_000
  let levels = 0
  const bare = {
    name: 'bare LevelDB',
    measure: () =>
      outboxWorker({
        work: 'append to bare LevelDB',
        folder: join(dir, `level-${levels++}`),
        root: thisCheckout.root,
        events,
      }),
  }
  const subjects = products.flatMap((product, index) =>
    remembered(full).map(([name, count]) => ({
      name,
      product,
      folder: join(dir, `outbox-${index}-${count}`),
      count,
    })),
  )
  for (const { product, folder, count } of subjects) {
    say(`  filling an outbox with ${count.toLocaleString('en')} IDs`)
    await outboxWorker({ work: 'fill', folder, root: product.root, events: count, end: 'release all' })
  }
  return [bare, ...subjects.map(({ name, product, folder }) => subjectOf(name, product, folder, events))]
}

function subjectOf(name: string, product: Product, folder: string, events: number) {
  return {
    name,
    product,
    measure: () => outboxWorker({ work: 'append', folder, root: product.root, events }),
  }
}
