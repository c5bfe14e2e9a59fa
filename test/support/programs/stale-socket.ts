import { createServer } from 'node:net'

/** Listens on a socket, and dies without taking it away. */
const [path = ''] = process.argv.slice(2)
createServer().listen(path, () => process.kill(process.pid, 'SIGKILL'))
