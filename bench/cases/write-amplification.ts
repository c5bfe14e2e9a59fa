import { join } from 'node:path'
import type { Prepare } from '../run/case.ts'
import { outboxWorker } from './outbox.ts'

/** Flash wear, with every event delivered soon after, as on a gateway whose uplink is up. The folder must be on a real disk. */
export const prepareWriteAmplification: Prepare = ({ products, full, dir }) => {
  const seconds = full ? 20 : 6
  let folders = 0
  return Promise.resolve(
    products.flatMap((product) =>
      (
        [
          ['10/s', 10, true],
          ['1,000/s', 1000, true],
          ['full speed', 0, true],
          ['full speed, uplink down', 0, false],
        ] as const
      ).map(([name, perSecond, deliver]) => ({
        name,
        product,
        measure: () =>
          outboxWorker({
            work: 'wear',
            folder: join(dir, `outbox-${folders++}`),
            root: product.root,
            seconds,
            perSecond,
            deliver,
          }),
      })),
    ),
  )
}
