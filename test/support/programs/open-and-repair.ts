import { levelFolder } from '../../../edge/store/store-level.ts'
import { systemClock } from '../../../src/clock.ts'

/**
 * Tries to open and to repair a store. Arguments: its folder, and `as-nobody` to give up the rights of root first.
 * Prints the codes of what was refused.
 */
const [path = '', as = ''] = process.argv.slice(2)

const root = 0
const nobody = 65_534
if (as === 'as-nobody' && process.getuid?.() === root) process.setuid?.(nobody)

const folder = levelFolder({ folder: path, reserveBytes: 0, clock: systemClock })
const refusals: string[] = []
for (const attempt of [() => folder.open(), () => folder.repair('why')])
  await attempt().catch((error: { code: string }) => refusals.push(error.code))
console.log(refusals.join(' '))
