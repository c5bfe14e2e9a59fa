import { join } from 'node:path'
import type { Prepare, Subject } from '../run/case.ts'
import { outboxWorker } from './outbox.ts'

/** Opens the outbox alone, in a process of its own each time; what dies by kill -9 has just written some more. */
export const prepareRestart: Prepare = async ({ products, full, dir, say }) => {
  const subjects: Subject[] = []
  for (const [index, product] of products.entries()) {
    for (const [name, queued] of [
      ['empty', 0],
      ['10 k queued', 10_000],
      ['1 M queued', 1_000_000],
      ...(full ? [['10 M queued', 10_000_000] as const] : []),
    ] as const) {
      const where = { folder: join(dir, `outbox-${index}-${queued}`), root: product.root }
      say(`  filling an outbox with ${queued.toLocaleString('en')} events`)
      await outboxWorker({ ...where, work: 'fill', events: queued, end: 'close' })
      subjects.push(
        {
          name: `${name}, after kill -9`,
          product,
          async measure() {
            await outboxWorker({
              ...where,
              work: 'fill',
              events: queued === 0 ? 0 : 5_000,
              end: 'kill -9',
            })
            return outboxWorker({ ...where, work: 'open' })
          },
        },
        { name: `${name}, after a stop`, product, measure: () => outboxWorker({ ...where, work: 'open' }) },
      )
    }
  }
  return subjects
}
