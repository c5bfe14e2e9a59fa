import { untilSignal } from '../../../src/lifecycle.ts'

/**
 * Says "here" and runs until it is told to stop. Argument: `crash`, and 300 ms later it ends by itself with exit code 3
 * and a last line.
 */
const [how] = process.argv.slice(2)

setInterval(() => {}, 1000)
const signal = untilSignal(process)
console.log('here')
if (signal.aborted) process.exit()
signal.addEventListener('abort', () => process.exit())

if (how === 'crash')
  setTimeout(() => {
    console.log('out of cheese')
    process.exit(3)
  }, 300)
